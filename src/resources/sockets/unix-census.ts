/** All UNIX sockets of the host at one look: asked once for all descriptors that are looked at together. */
import { listUnixSockets, type UnixSocketEntry } from '../../netlink/unix-sockets.ts';
import { findHolders, type Holder } from '../../procfs/holders.ts';
import type { DescriptorView } from '../resource.ts';

export class UnixCensus {
  readonly #entries: ReadonlyMap<number, UnixSocketEntry>;
  readonly #inside: ReadonlyMap<number, DescriptorView>;
  readonly #siblings: readonly DescriptorView[];

  constructor(entries: readonly UnixSocketEntry[], siblings: readonly DescriptorView[]) {
    this.#entries = new Map(entries.map((entry) => [entry.inode, entry]));
    const sockets = siblings.filter(({ descriptor }) => descriptor.kind === 'socket');
    this.#inside = new Map(sockets.map((view) => [Number(view.stat.inode), view]));
    this.#siblings = siblings;
  }

  entry(inode: number): UnixSocketEntry | undefined {
    return this.#entries.get(inode);
  }

  /** The description of what is saved that has this socket. */
  inside(inode: number): DescriptorView | undefined {
    return this.#inside.get(inode);
  }

  holders(inode: number): Holder[] {
    return findHolders(`socket:[${inode}]`, new Set([process.pid, ...this.#siblings.map(({ pid }) => pid)]));
  }

  /** Another socket has its name: that of a listener goes to all that it accepts. */
  sharesName({ name, type, inode }: UnixSocketEntry): boolean {
    return name !== undefined && this.#all.some((other) => other.inode !== inode && isOfName(other, name, type));
  }

  isListenedTo({ name, type }: UnixSocketEntry): boolean {
    return name !== undefined && this.#all.some((other) => isListening(other) && isOfName(other, name, type));
  }

  /** In whose queue of connections this one waits. */
  listenerWaitedFor(inode: number): UnixSocketEntry | undefined {
    return this.#all.find(({ pending }) => pending.includes(inode));
  }

  /** Of all sockets that are bound to this file, the one whose file it is. */
  ownerOfFile(name: Buffer, type: number, file: number): number | undefined {
    const owners = this.#all
      .filter((other) => other.file?.inode === file && isOfName(other, name, type))
      .sort((a, b) => Number(isListening(b)) - Number(isListening(a)) || a.inode - b.inode);
    return owners[0]?.inode;
  }

  get #all(): UnixSocketEntry[] {
    return [...this.#entries.values()];
  }
}

const TCP_LISTEN = 10;
export const isListening = ({ state }: UnixSocketEntry): boolean => state === TCP_LISTEN;

const isOfName = (entry: UnixSocketEntry, name: Buffer, type: number): boolean =>
  entry.type === type && entry.name?.equals(name) === true;

/** Of one descriptor, asked anew. */
export const listedEntry = ({ stat }: Pick<DescriptorView, 'stat'>): UnixSocketEntry | undefined =>
  listUnixSockets().find(({ inode }) => inode === Number(stat.inode));

const taken = new WeakMap<readonly DescriptorView[], { count: number; census: UnixCensus }>();

/** `siblings` grows until all descriptions have been seen; the list of the kernel is asked for anew only then. */
export function unixCensus({ siblings }: DescriptorView): UnixCensus {
  const known = taken.get(siblings);
  if (known?.count === siblings.length) return known.census;
  const census = new UnixCensus(listUnixSockets(), siblings);
  taken.set(siblings, { count: siblings.length, census });
  return census;
}
