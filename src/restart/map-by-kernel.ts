/**
 * Mappings whose place only the kernel chooses: mmap(2) of an io_uring takes no address, and mremap(2) moves none (io_uring_get_unmapped_area()). All of
 * the address space is taken for a while but the place where the mapping has to be: then the kernel chooses that.
 */
import { MAP, PROT } from '../kernel/abi/mman.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { readMaps } from '../procfs/smaps.ts';
import type { Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Span } from '../tracee/address-space.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';
import type { PlannedMapping } from './process-plan.ts';

/** Below this no ring is mapped (vm.mmap_min_addr). */
const LOWEST = 0x1_0000;
const RESERVED = MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_NORESERVE | MAP.MAP_FIXED_NOREPLACE;

/** Those of the mappings that need it, while the process has little else mapped. `remoteFile`: the descriptor, in the process, of a file object. */
export function mapByKernel(
  agent: BatchRunner,
  pid: Pid,
  mappings: readonly PlannedMapping[],
  remoteFile: (objref: number) => number,
  spaceEnd: number,
): void {
  const wanted = mappings.filter(({ made }) => made?.placedByKernel === true);
  if (wanted.length === 0) return;
  const batch = new CallBatch(agent);
  const step = (doing: string, number: number, ...args: number[]): void => {
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(doing, number, ...args);
  };
  const free = holesBetween(readMaps(pid), { start: LOWEST, end: spaceEnd });
  for (const { start, end } of free) {
    step('keep the kernel from a hole', SYS.mmap, start, end - start, PROT.PROT_NONE, RESERVED, -1, 0);
  }
  for (const { made, state } of wanted) {
    const { start, end, protection, offset } = state;
    step('make room for a ring', SYS.munmap, start, end - start);
    batch.run();
    const fd = remoteFile(made?.file ?? 0);
    const mapped = batch.call('map a ring', SYS.mmap, 0, end - start, protection, MAP.MAP_SHARED, fd, offset);
    batch.run();
    if (mapped.result !== start) throw misplaced(start, mapped.result);
  }
  const rings = wanted.map(({ state }) => state);
  for (const hole of free) {
    const inside = rings.filter(({ start }) => start >= hole.start && start < hole.end);
    for (const { start, end } of holesBetween(inside, hole)) {
      step('give a hole back', SYS.munmap, start, end - start);
    }
  }
  batch.run();
}

const misplaced = (wanted: number, got: number): QuicksaveError =>
  new QuicksaveError(
    'no-io-uring',
    `The kernel mapped an io_uring at 0x${got.toString(16)} instead of 0x${wanted.toString(16)}.`,
  );

function holesBetween(taken: readonly Span[], { start, end: spaceEnd }: Span): Span[] {
  const holes: Span[] = [];
  let from = start;
  for (const span of [...taken].sort((a, b) => a.start - b.start)) {
    const end = Math.min(span.start, spaceEnd);
    if (end > from) holes.push({ start: from, end });
    from = Math.max(from, span.end);
  }
  if (spaceEnd > from) holes.push({ start: from, end: spaceEnd });
  return holes;
}
