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
export const USER_SPACE_END = 2 ** 47 - PAGE;
/** What a 32-bit process has in any case: personality(2) may take the last gibibyte away from it (ADDR_LIMIT_3GB). */
export const USER_SPACE_END_32 = 0xc000_0000;

/**
 * `sizeBytes` of address space in the middle of the widest hole: far from any stack or heap that may grow, and from any
 * neighbour that the kernel could merge it with.
 */
export function findHole(taken: readonly Span[], sizeBytes: number, spaceEnd = USER_SPACE_END): RemoteAddress {
  let widest: Span = { start: 0, end: 0 };
  let from = LOWEST;
  for (const span of [...taken].sort((a, b) => a.start - b.start)) {
    const end = Math.min(span.start, spaceEnd);
    if (end - from > widest.end - widest.start) widest = { start: from, end };
    from = Math.max(from, span.end);
  }
  if (spaceEnd - from > widest.end - widest.start) widest = { start: from, end: spaceEnd };
  const spare = widest.end - widest.start - sizeBytes;
  if (spare < 4 * PAGE) {
    throw new QuicksaveError('no-room', `There is no hole of ${sizeBytes} bytes in the address space.`);
  }
  return remoteAddress(Math.floor((widest.start + spare / 2) / PAGE) * PAGE);
}

/**
 * `sizeBytes` of address space as near as may be, and no further away than `reach`, at the upper end of a hole: there the
 * kernel puts the next mapping too, so that no wide hole is cut in two. What may grow downwards keeps the hole below it.
 */
export function findHoleNear(
  taken: readonly (Span & { readonly growsDown: boolean })[],
  sizeBytes: number,
  near: number,
  reach: number,
): RemoteAddress | undefined {
  let best: number | undefined;
  let from = LOWEST;
  for (const span of [...taken].sort((a, b) => a.start - b.start)) {
    const start = span.start - sizeBytes;
    const isReached = Math.abs(start - near) <= reach - sizeBytes;
    const isNearer = best === undefined || Math.abs(start - near) < Math.abs(best - near);
    if (!span.growsDown && start >= from && isReached && isNearer) best = start;
    from = Math.max(from, span.end);
  }
  return best === undefined ? undefined : remoteAddress(best);
}
