/**
 * Where the pages of a save are read from: the target itself, which must stand still for it; a copy of them in our memory; a
 * snapshot of the target.
 */
import { closeSync, openSync } from 'node:fs';
import { NativeMemory } from '../kernel/native-memory.ts';
import { copyPages, PAGE, pagesOf } from '../pages/save-job.ts';
import { type LocalAddress, type LocalFd, localAddress, localFd, type Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Snapshot } from '../tracee/snapshot.ts';
import { type PagePlan, type PlanOptions, planPages, type TrackedScans } from './page-plan.ts';
import type { ClassifiedMapping } from './preflight.ts';

export interface PageSource {
  readonly pid: Pid;
  /** The memory in the image that the pages belong to. */
  readonly objref: number;
  /** A descriptor of /proc/PID/mem. */
  readonly memory: number;
  readonly plan: PagePlan;
  /** The pages were copied already: address of the first chunk's copy, the others follow. 0: they were not. */
  readonly copy: LocalAddress | 0;
  /** What to tell when its pages could not be read or written. */
  explain(error: unknown): unknown;
  close(): void;
}

/** Mappings of one process, and the memory in the image that they are. */
export interface MemoryView {
  readonly pid: Pid;
  readonly objref: number;
  readonly mappings: readonly ClassifiedMapping[];
  /** Start addresses of mappings of which only written pages have to be read: the others are the parent's. */
  readonly tracked: ReadonlySet<number>;
  /** As {@link PlanOptions.scans}. */
  readonly scans?: TrackedScans;
  /** No other process of the tree may have its pages too: the kernel copies a page that is shared copy-on-write before it is pinned. */
  readonly isAlone: boolean;
}

/** The pages of these mappings where they are. */
export function pagesOfTarget(
  { pid, objref, mappings, tracked, scans, isAlone }: MemoryView,
  wanted: PlanOptions['wanted'] = 'written',
): PageSource {
  const plan = withPagemap(pid, (pagemap) => planPages(pagemap, mappings, { mayPin: isAlone, tracked, wanted, scans }));
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  return { pid, objref, memory, plan, copy: 0, explain, close: () => closeSync(memory) };
}

/** Part of an arena of ours. */
export interface Room {
  readonly address: LocalAddress;
  readonly sizeBytes: number;
}

/** A copy of a source's pages. Undefined if they do not fit into `room`, which stays the caller's. */
export function copiedInto({ address, sizeBytes }: Room, source: PageSource): PageSource | undefined {
  if (source.plan.pages * PAGE > sizeBytes) return undefined;
  let into: number = address;
  for (const chunk of source.plan.chunks) {
    copyPages(source.pid, source.memory, chunk, localAddress(into));
    into += pagesOf(chunk) * PAGE;
  }
  return { ...source, copy: address };
}

/** A copy in memory of its own. */
export function copied(source: PageSource): PageSource {
  const arena = NativeMemory.allocate(Math.max(source.plan.pages, 1) * PAGE);
  const close = (): void => {
    arena.free();
    source.close();
  };
  try {
    return { ...source, ...copiedInto(arena, source), close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * The pages that a snapshot has. Ends it when closed. Which they are is looked up in the snapshot when it is asked, and the target does not wait
 * for it (4 ms for 1 GiB), unless only written pages are wanted: the marks of those are the target's, and a fork does not have them.
 */
export function pagesOfSnapshot(snapshot: Snapshot, { pid, objref, mappings, tracked, scans }: MemoryView): PageSource {
  const planOf = (process: Pid): PagePlan => {
    const options: PlanOptions = { mayPin: false, tracked, wanted: 'written', scans };
    return withPagemap(process, (pagemap) => planPages(pagemap, mappings, options));
  };
  let plan = tracked.size > 0 ? planOf(pid) : undefined;
  const memory = openSync(`/proc/${snapshot.pid}/mem`, 'r');
  return {
    pid: snapshot.pid,
    objref,
    memory,
    get plan() {
      plan ??= planOfLiving(snapshot, planOf);
      return plan;
    },
    copy: 0,
    explain: (error) => explainEnd(snapshot, error),
    close: () => {
      closeSync(memory);
      snapshot.end();
    },
  };
}

const explain = (error: unknown): unknown => error;

const explainEnd = (snapshot: Snapshot, error: unknown): unknown => (snapshot.hasEnded() ? snapshotEnded() : error);

/** One that has been killed has no pages: that must not be taken for those of the program. */
function planOfLiving(snapshot: Snapshot, planOf: (process: Pid) => PagePlan): PagePlan {
  let plan: PagePlan;
  try {
    plan = planOf(snapshot.pid);
  } catch (error) {
    throw explainEnd(snapshot, error);
  }
  if (snapshot.hasEnded()) throw snapshotEnded();
  return plan;
}

const snapshotEnded = (): QuicksaveError =>
  new QuicksaveError('snapshot-ended', 'The snapshot of the process was killed before all of it was in the image.', {
    remedy: 'Save it again; the process itself has gone on. If memory is short, end it with the save: --kill.',
  });

function withPagemap<T>(pid: Pid, use: (pagemap: LocalFd) => T): T {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    return use(localFd(pagemap));
  } finally {
    closeSync(pagemap);
  }
}
