/** Finding room in an address space. */
import type { RemoteAddress } from '../support/brand.ts';
import { remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';

export interface Span {
  readonly start: number;
  readonly end: number;
}

const PAGE = 4096;
/** Above what vm.mmap_min_addr keeps free on any sane system. */
const LOWEST = 0x10_0000;
const USER_SPACE_END = 2 ** 47 - PAGE;

/**
 * `sizeBytes` of address space in the middle of the widest hole: far from any stack or heap that may grow, and from any
 * neighbour that the kernel could merge it with.
 */
export function findHole(taken: readonly Span[], sizeBytes: number): RemoteAddress {
  let widest: Span = { start: 0, end: 0 };
  let from = LOWEST;
  for (const span of [...taken].sort((a, b) => a.start - b.start)) {
    const end = Math.min(span.start, USER_SPACE_END);
    if (end - from > widest.end - widest.start) widest = { start: from, end };
    from = Math.max(from, span.end);
  }
  if (USER_SPACE_END - from > widest.end - widest.start) widest = { start: from, end: USER_SPACE_END };
  const spare = widest.end - widest.start - sizeBytes;
  if (spare < 4 * PAGE) {
    throw new QuicksaveError('no-room', `There is no hole of ${sizeBytes} bytes in the address space.`);
  }
  return remoteAddress(Math.floor((widest.start + spare / 2) / PAGE) * PAGE);
}
