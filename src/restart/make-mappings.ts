/** The mappings of the plan, made in the process by its agent: first as far as pages can be put into them, in the end as they were. */
import { MADV, MLOCK, PROT } from '../kernel/abi/mman.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import type { Stretch } from '../pages/page-pieces.ts';
import { type Pid, remoteAddress } from '../support/brand.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';
import { writeRemote } from '../tracee/remote-memory.ts';
import type { PlannedMapping } from './process-plan.ts';
import type { KeptMapping } from './sharing.ts';

const PAGE = 4096;

/** But those that are attached, set up, or placed by the kernel. `remoteFile`: the descriptor, in the process, of a file object. */
export function makeMappings(
  agent: BatchRunner,
  mappings: readonly PlannedMapping[],
  remoteFile: (objref: number) => number,
): void {
  const batch = new CallBatch(agent);
  for (const { made, state } of mappings) {
    if (made === undefined || made.attach !== undefined || made.aio !== undefined || made.placedByKernel) continue;
    if (!batch.hasRoomFor(1, 0)) batch.run();
    const fd = made.file === 0 ? -1 : remoteFile(made.file);
    const protection = state.hasPages ? PROT.PROT_READ | PROT.PROT_WRITE : state.protection;
    const { start, end, offset } = state;
    batch.call(`map 0x${start.toString(16)}`, SYS.mmap, start, end - start, protection, made.flags, fd, offset);
  }
  batch.run();
}

/** Mappings that it was born with get the length that they have to have. The address space behind them is free. */
export function lengthenMappings(agent: BatchRunner, kept: readonly KeptMapping[]): void {
  const batch = new CallBatch(agent);
  for (const { start, bornEnd, end } of kept) {
    if (bornEnd >= end) continue;
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(`lengthen 0x${start.toString(16)}`, SYS.mremap, start, bornEnd - start, end - start, 0, 0);
  }
  batch.run();
}

/** Pages that are not its own: zeros or the file's come in their place. */
export function dropPages(agent: BatchRunner, stretches: readonly Stretch[]): void {
  const batch = new CallBatch(agent);
  for (const { start, pages } of stretches) {
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(`drop 0x${start.toString(16)}`, SYS.madvise, start, pages * PAGE, MADV.MADV_DONTNEED);
  }
  batch.run();
}

/** What is in them that the image does not have as pages. */
export function fillMappings(pid: Pid, mappings: readonly PlannedMapping[]): void {
  for (const { state, bytes } of mappings) {
    if (bytes !== undefined) writeRemote(pid, remoteAddress(state.start), bytes);
  }
}

/** When their pages are in them. */
export function finishMappings(agent: BatchRunner, mappings: readonly PlannedMapping[]): void {
  const batch = new CallBatch(agent);
  for (const mapping of mappings) {
    if (mapping.made === undefined) continue;
    if (!batch.hasRoomFor(16, 512)) batch.run();
    installGuards(batch, mapping.state);
    finishMapping(batch, mapping, mapping.made.name);
  }
  batch.run();
}

/** When nothing about them is changed any more. */
export function sealMappings(agent: BatchRunner, mappings: readonly PlannedMapping[]): void {
  const batch = new CallBatch(agent);
  for (const { sealed, made, state } of mappings) {
    if (!sealed || made === undefined) continue;
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call(`seal 0x${state.start.toString(16)}`, SYS.mseal, state.start, state.end - state.start, 0);
  }
  batch.run();
}

/** There may be as many as there are threads in it, or more. */
function installGuards(batch: CallBatch, { guards }: PlannedMapping['state']): void {
  for (const { start, pages } of guards) {
    if (!batch.hasRoomFor(16, 512)) batch.run();
    batch.call(`guard 0x${start.toString(16)}`, SYS.madvise, start, pages * PAGE, MADV.MADV_GUARD_INSTALL);
  }
}

function finishMapping(batch: CallBatch, { state, advice, locking }: PlannedMapping, name: string): void {
  const sizeBytes = state.end - state.start;
  const where = `0x${state.start.toString(16)}`;
  if (state.protectionKey !== 0) {
    batch.call(`protect ${where}`, SYS.pkey_mprotect, state.start, sizeBytes, state.protection, state.protectionKey);
  } else if (state.hasPages && state.protection !== (PROT.PROT_READ | PROT.PROT_WRITE)) {
    batch.call(`protect ${where}`, SYS.mprotect, state.start, sizeBytes, state.protection);
  }
  for (const one of advice) batch.call(`advise on ${where}`, SYS.madvise, state.start, sizeBytes, one);
  if (locking !== 'none') {
    batch.call(`lock ${where}`, SYS.mlock2, state.start, sizeBytes, locking === 'on-fault' ? MLOCK.MLOCK_ONFAULT : 0);
  }
  if (name !== '') {
    const text = batch.cString(name);
    const { PR_SET_VMA, PR_SET_VMA_ANON_NAME } = PR;
    batch.call(`name ${where}`, SYS.prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, state.start, sizeBytes, text.address);
  }
}
