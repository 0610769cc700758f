/** The address space of a process that is being rebuilt, made empty for its own mappings. */
import { MREMAP } from '../kernel/abi/mman.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { readMaps } from '../procfs/smaps.ts';
import { asPid } from '../support/brand.ts';
import type { Span } from '../tracee/address-space.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';

const VSYSCALL = '[vsyscall]';

export interface Clearing {
  /** Of the agent, which stays. */
  readonly ours: Span;
  /** Room there for the kernel's own mappings, of which one may lie where another one goes. */
  readonly waitingRoom: number;
  /** What stays besides; they ascend. */
  readonly kept: readonly Span[];
  /** Where the kernel's own mappings go, by name. */
  readonly kernelPlaces: ReadonlyMap<string, Span>;
}

/** Unmaps all else; the kernel's own mappings go to the waiting room and from there to their places. */
export function clearAddressSpace(agent: BatchRunner, { ours, waitingRoom, kept, kernelPlaces }: Clearing): void {
  const batch = new CallBatch(agent);
  let waiting = waitingRoom;
  let next = 0;
  const moves: { from: number; to: number; sizeBytes: number; name: string }[] = [];
  for (const { start, end, special = '' } of readMaps(asPid(agent.pid))) {
    if ((start >= ours.start && start < ours.end) || special === VSYSCALL) continue;
    const place = kernelPlaces.get(special);
    if (place === undefined) {
      while ((kept[next]?.end ?? Number.POSITIVE_INFINITY) <= start) next++;
      for (const gap of gapsIn({ start, end }, kept, next)) {
        if (!batch.hasRoomFor(1, 0)) batch.run();
        batch.call('clear the address space', SYS.munmap, gap.start, gap.end - gap.start);
      }
      continue;
    }
    const sizeBytes = end - start;
    if (!batch.hasRoomFor(1, 0)) batch.run();
    move(batch, start, waiting, sizeBytes, special);
    moves.push({ from: waiting, to: place.start, sizeBytes, name: special });
    waiting += sizeBytes;
  }
  batch.run();
  for (const { from, to, sizeBytes, name } of moves) move(batch, from, to, sizeBytes, name);
  batch.run();
}

function move(batch: CallBatch, from: number, to: number, sizeBytes: number, name: string): void {
  const flags = MREMAP.MREMAP_MAYMOVE | MREMAP.MREMAP_FIXED;
  batch.call(`move ${name}`, SYS.mremap, from, sizeBytes, sizeBytes, flags, to);
}

/** What of `whole` is in none of `kept`, of which number `first` is the first that may lie in it. */
function gapsIn(whole: Span, kept: readonly Span[], first: number): Span[] {
  const gaps: Span[] = [];
  let from = whole.start;
  for (let index = first; index < kept.length; index++) {
    const { start, end } = kept[index] as Span;
    if (start >= whole.end) break;
    if (start > from) gaps.push({ start: from, end: start });
    from = end;
  }
  if (from < whole.end) gaps.push({ start: from, end: whole.end });
  return gaps;
}
