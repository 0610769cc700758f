/** What a user wants of TCP connections, and of UNIX sockets and pipes to the outside, as the command and the library take it. */
import { resolve } from 'node:path';
import type { TcpPolicy } from '../resources/connection-keeper.ts';
import type { OutsidePolicy } from '../resources/outside-policy.ts';
import { QuicksaveError } from '../support/errors.ts';

/** As users give it: paths from the working directory, or @names. */
export interface OutsideChoice {
  readonly external?: readonly string[] | undefined;
  readonly closeExternal?: boolean | undefined;
  /** What becomes of TCP connections: kept, come back as reset, or refused. Default: established. */
  readonly tcp?: TcpPolicy | undefined;
  /** The process ends with the save. Default false. */
  readonly kill?: boolean | undefined;
}

/** Throws QuicksaveError `wrong-usage` for an empty name. */
export function outsidePolicyOf({
  external = [],
  closeExternal = false,
  tcp,
  kill = false,
}: OutsideChoice): OutsidePolicy {
  if (external.includes('')) {
    throw new QuicksaveError('wrong-usage', 'What is external is given by the path or the @name of a socket.');
  }
  return {
    external: external.map((one) => (one.startsWith('@') ? one : resolve(one))),
    closes: closeExternal,
    tcp,
    ends: kill,
  };
}
