import type { TcpPolicy } from './connection-keeper.ts';

/** What a save does about TCP connections, and about UNIX sockets and pipes whose other ends are outside of what is saved. */
export interface OutsidePolicy {
  /** UNIX sockets, by absolute paths or @names: who is connected to them is connected to them again by a restart. */
  readonly external: readonly string[];
  /** All others come back as closed by their other ends; false: they are refused. */
  readonly closes: boolean;
  /** Default: established. */
  readonly tcp?: TcpPolicy | undefined;
  /** The program ends with the save: what others have asked of it is refused to them then. Default: it goes on. */
  readonly ends?: boolean | undefined;
}

export const refusesOutside: OutsidePolicy = { external: [], closes: false };
