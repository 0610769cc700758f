/** A classic BPF filter of a socket (SO_ATTACH_FILTER, socket(7)), which SO_GET_FILTER gives back. One of eBPF is refused: nobody can read it. */
import * as v from 'valibot';
import { byteString } from '../../image/schema.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { attachFilter, discardQueue, filterOf, setSocketNumber, trySocketOption } from '../../kernel/calls/sockets.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorView } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { inetProblem } from './inet-obstacles.ts';

/** BPF_MAXINSNS of linux/bpf_common.h, of 8 bytes each. */
const MAX_BYTES = 4096 * 8;

export const filterSchema = v.strictObject({
  instructions: v.pipe(
    byteString(MAX_BYTES),
    v.check((bytes) => bytes.length > 0 && bytes.length % 8 === 0, 'must be instructions of 8 bytes'),
  ),
  /** SO_LOCK_FILTER: the program cannot take it away again. */
  locked: v.boolean(),
});
export type SocketFilter = v.InferOutput<typeof filterSchema>;

export function hiddenFilter(view: DescriptorView): Problem[] {
  if (lookThrough(view, filterOf) !== 'hidden') return [];
  return [inetProblem(view, 'socket-filter', 'It has a filter of eBPF (SO_ATTACH_BPF)')];
}

/** Fields of a state: none if it has none. */
export function collectFilter(own: LocalFd): { filter?: SocketFilter } {
  const instructions = filterOf(own);
  if (typeof instructions === 'string') return {};
  const locked = (trySocketOption(own, SOCKET.SOL_SOCKET, SOCKET.SO_LOCK_FILTER, 4)?.readInt32LE(0) ?? 0) !== 0;
  return { filter: { instructions, locked } };
}

/** When all that waits in it has been put back: whatever comes in from then on passes it. */
export function restoreFilter(made: LocalFd, filter: SocketFilter | undefined): void {
  if (filter === undefined) return;
  attachFilter(made, filter.instructions);
  if (filter.locked) setSocketNumber(made, SOCKET.SOL_SOCKET, SOCKET.SO_LOCK_FILTER, 1);
}

/** BPF_RET | BPF_K: of no packet anything. */
const NOTHING = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0]);

/** Nothing comes in, and nothing is in it, until {@link letIn}: of what passes while a restart makes other sockets, none is for it. */
export function keepOut(made: LocalFd): void {
  attachFilter(made, NOTHING);
  discardQueue(made);
}

export function letIn(made: LocalFd, filter: SocketFilter | undefined): void {
  if (filter === undefined) setSocketNumber(made, SOCKET.SOL_SOCKET, SOCKET.SO_DETACH_FILTER, 0);
  else restoreFilter(made, filter);
}
