/**
 * System V shared memory segments, attached in the process by its agent. shmat(2) attaches a segment whole; of an attachment of which the
 * program has kept a part, or that it has moved, the parts are moved to their places (mremap(2)) and the rest is unmapped. shmdt(2) finds all
 * parts of one by their common beginning and file, so that they must come from one call.
 */
import { MREMAP, PROT } from '../kernel/abi/mman.ts';
import { SHM } from '../kernel/abi/shm.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { findHole, type Span } from '../tracee/address-space.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';
import type { PlannedMapping } from './process-plan.ts';

const PAGE = 4096;
/** Below this no segment is attached (vm.mmap_min_addr). */
const LOWEST = 0x1_0000;

interface Attachment {
  readonly id: number;
  readonly readOnly: boolean;
  /** Where its first byte was, or would be: parts may have been moved away from there. */
  readonly base: number;
  readonly mappedBytes: number;
  /** Ascending. */
  readonly parts: Part[];
}

type Part = PlannedMapping['state'];

/** `taken`: what the address space has, or will have. */
export function attachSegments(
  agent: BatchRunner,
  mappings: readonly PlannedMapping[],
  taken: readonly Span[],
  spaceEnd: number,
): void {
  for (const attachment of attachmentsIn(mappings)) attach(new CallBatch(agent), attachment, taken, spaceEnd);
}

function attachmentsIn(mappings: readonly PlannedMapping[]): Attachment[] {
  const found = new Map<string, Attachment>();
  for (const { made, segment, state } of mappings) {
    if (segment === undefined || made?.attach === undefined) continue;
    const { id, sizeBytes } = segment;
    const { readOnly } = made.attach;
    const base = state.start - state.offset;
    const key = `${id} ${base} ${readOnly}`;
    const mappedBytes = Math.ceil(sizeBytes / PAGE) * PAGE;
    const attachment = found.get(key) ?? { id, readOnly, base, mappedBytes, parts: [] };
    found.set(key, attachment);
    attachment.parts.push(state);
  }
  return [...found.values()];
}

function attach(batch: CallBatch, attachment: Attachment, taken: readonly Span[], spaceEnd: number): void {
  const { id, readOnly, base, mappedBytes, parts } = attachment;
  const at = isFree(attachment, taken) ? base : findHole(taken, mappedBytes, spaceEnd);
  batch.call(`attach the System V segment ${id}`, SYS.shmat, id, at, readOnly ? SHM.SHM_RDONLY : 0);
  const step = (doing: string, number: number, ...args: number[]): void => {
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(doing, number, ...args);
  };
  // Neighbours that differ in nothing would be moved into one mapping, which is counted as one: for a while they differ.
  parts.forEach(({ start, end, offset }, index) => {
    step('part a segment', SYS.mprotect, at + offset, end - start, index % 2 === 0 ? PROT.PROT_READ : PROT.PROT_NONE);
  });
  for (const { start, end } of restOf(attachment))
    step('unmap a part of a segment', SYS.munmap, at + start, end - start);
  for (const { start, end, offset } of at === base ? [] : parts) {
    const flags = MREMAP.MREMAP_MAYMOVE | MREMAP.MREMAP_FIXED;
    step('move a part of a segment', SYS.mremap, at + offset, end - start, end - start, flags, start);
  }
  for (const { start, end, protection } of parts) {
    step('protect a part of a segment', SYS.mprotect, start, end - start, protection);
  }
  batch.run();
}

/** The whole of it, and not only the parts that were left. */
function isFree({ base, mappedBytes, parts }: Attachment, taken: readonly Span[]): boolean {
  const own = new Set(parts.map(({ start }) => start));
  return (
    base >= LOWEST && taken.every(({ start, end }) => own.has(start) || end <= base || start >= base + mappedBytes)
  );
}

/** Offsets of what of the segment no part has. */
function restOf({ mappedBytes, parts }: Attachment): Span[] {
  const rest: Span[] = [];
  let from = 0;
  for (const { start, end, offset } of parts) {
    if (offset > from) rest.push({ start: from, end: offset });
    from = offset + end - start;
  }
  if (mappedBytes > from) rest.push({ start: from, end: mappedBytes });
  return rest;
}
