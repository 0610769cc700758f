/** Takes hold of the pages of frozen programs in the way that lets them go on soonest. */
import { NativeMemory } from '../kernel/native-memory.ts';
import { PAGE } from '../pages/save-job.ts';
import { localAddress } from '../support/brand.ts';
import type { Agent } from '../tracee/agent.ts';
import { takeSnapshot } from '../tracee/snapshot.ts';
import type { ObjectContent } from './collect-files.ts';
import { areLarge, heldContents } from './content.ts';
import { isForked } from './page-plan.ts';
import {
  copied,
  copiedInto,
  type MemoryView,
  type PageSource,
  pagesOfSnapshot,
  pagesOfTarget,
} from './page-sources.ts';

/** Up to this size a copy in memory costs less time than a snapshot. */
const SMALL_BYTES = 16 * 1024 * 1024;
/** What is copied of many small programs in all, while they stand still. */
const MOST_COPIED_BYTES = 64 * 1024 * 1024;

/** Written pages of larger programs up to this are copied: a snapshot takes longer. */
const FEW_BYTES = 64 * 1024 * 1024;

/** Its pages are copied, if there is room. */
export const isSmall = (residentBytes: number): boolean => residentBytes <= SMALL_BYTES;

/** Room for the pages of small programs, and for some more that they may touch until they stand still. */
export function arenaFor(residentBytes: readonly number[], kill: boolean): NativeMemory | undefined {
  if (kill) return undefined;
  const wanted = residentBytes.filter(isSmall).reduce((sum, bytes) => sum + Math.ceil(bytes * 1.25) + 1024 * 1024, 0);
  return wanted === 0 ? undefined : NativeMemory.allocate(Math.min(wanted, MOST_COPIED_BYTES), { populate: true });
}

/** Room for pages that tracked programs have written, and for some more until they stand still. */
export function arenaForWritten(writtenBytes: number): NativeMemory | undefined {
  if (writtenBytes === 0) return undefined;
  const wanted = Math.ceil(writtenBytes * 1.25) + 1024 * 1024;
  return NativeMemory.allocate(Math.min(wanted, FEW_BYTES), { populate: true });
}

export interface GatheredPages {
  readonly sources: readonly PageSource[];
  /** Bytes of objects, as they were when the programs stood still. */
  readonly contents: readonly ObjectContent[];
  /** False: what was gathered is still the programs' own, which have to stand still until it is written. */
  readonly mayGoOn: boolean;
  /** Why that is so, if it should not be. */
  readonly remarks: readonly string[];
}

/** The memory of a frozen program. */
export interface GatheredProcess extends MemoryView {
  readonly agent: Agent;
}

export interface GatherOptions {
  /** Of each memory one. */
  readonly processes: readonly GatheredProcess[];
  /** Whether one of the tree is a subreaper. */
  readonly hasSubreaper: () => boolean;
  readonly contents: readonly ObjectContent[];
  /** They need not go on. */
  readonly kill: boolean;
  /** For copies. */
  readonly arena: NativeMemory | undefined;
  /** For copies of what tracked programs have written. */
  readonly forWritten: NativeMemory | undefined;
}

export function gatherPages(options: GatherOptions): GatheredPages {
  const gathered = gatherWritten(options);
  const sources = [...gathered.sources];
  try {
    for (const one of options.processes) if (one.tracked.size > 0) sources.push(pagesOfTarget(one, 'unchanged'));
    return { ...gathered, sources };
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
}

function gatherWritten({ processes, hasSubreaper, contents, kill, arena, forWritten }: GatherOptions): GatheredPages {
  if (kill) return inPlace(processes, contents);
  const held = heldContents(contents);
  if (held === undefined) return inPlace(processes, contents, `${STOOD_STILL}, ${LARGE_CONTENTS}`);
  const copies = new Copies(arena, forWritten);
  const sources: PageSource[] = [];
  try {
    const large = processes.filter((one) => {
      const copy = copies.take(one);
      if (copy !== undefined) sources.push(copy);
      return copy === undefined;
    });
    const reason = addSnapshots(large, hasSubreaper, sources);
    if (reason === undefined) return { sources, contents: held, mayGoOn: true, remarks: [] };
    for (const source of sources) source.close();
    return inPlace(processes, held, `${STOOD_STILL}: ${reason}`);
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
}

const STOOD_STILL = 'it stood still until all was written';
const LARGE_CONTENTS = 'for its large files without a name';

/** Why the programs would stand still until their pages are written, as far as that can be told before it is tried: the remark of such a save. */
export function foreseenStandstill(
  { processes, hasSubreaper, contents }: Pick<GatherOptions, 'processes' | 'hasSubreaper' | 'contents'>,
  isLarge: (one: GatheredProcess) => boolean,
): string[] {
  if (areLarge(contents)) return [`${STOOD_STILL}, ${LARGE_CONTENTS}`];
  const reason = whyNoSnapshots(processes.filter(isLarge), hasSubreaper);
  return reason === undefined ? [] : [`${STOOD_STILL}: ${reason}`];
}

function whyNoSnapshots(large: readonly GatheredProcess[], hasSubreaper: () => boolean): string | undefined {
  if (large.length === 0) return undefined;
  // The kernel would give it the orphaned snapshots of all its descendants.
  if (hasSubreaper()) {
    return 'a subreaper is in it, which would become the parent of a snapshot';
  }
  if (large.some(({ mappings }) => mappings.some(({ kind }) => kind.isUnforkable))) {
    return 'it has huge pages, which a snapshot might take from it';
  }
  return undefined;
}

function inPlace(
  processes: readonly MemoryView[],
  contents: readonly ObjectContent[],
  ...remarks: string[]
): GatheredPages {
  return { sources: processes.map((one) => pagesOfTarget(one)), contents, mayGoOn: false, remarks };
}

/** Copies in one arena, as long as there is room, and beside it of the few pages that a tracked program has written. */
class Copies {
  readonly #arena: NativeMemory | undefined;
  readonly #forWritten: NativeMemory | undefined;
  #writtenBytes = 0;
  #usedBytes = 0;
  #fewBytes = FEW_BYTES;

  constructor(arena: NativeMemory | undefined, forWritten: NativeMemory | undefined) {
    this.#arena = arena;
    this.#forWritten = forWritten;
  }

  take(view: MemoryView): PageSource | undefined {
    if (this.#arena === undefined && view.tracked.size === 0) return undefined;
    const source = pagesOfTarget(view);
    const copy = this.#intoArena(source) ?? (view.tracked.size > 0 ? this.#ofFew(source) : undefined);
    if (copy === undefined) source.close();
    return copy;
  }

  #intoArena(source: PageSource): PageSource | undefined {
    if (this.#arena === undefined) return undefined;
    const sizeBytes = Math.min(this.#arena.sizeBytes - this.#usedBytes, SMALL_BYTES * 2);
    const copy = copiedInto({ address: localAddress(this.#arena.address + this.#usedBytes), sizeBytes }, source);
    this.#usedBytes += (copy?.plan.pages ?? 0) * PAGE;
    return copy;
  }

  #ofFew(source: PageSource): PageSource | undefined {
    const sizeBytes = source.plan.pages * PAGE;
    if (sizeBytes > this.#fewBytes) return undefined;
    this.#fewBytes -= sizeBytes;
    const room = (this.#forWritten?.sizeBytes ?? 0) - this.#writtenBytes;
    if (this.#forWritten === undefined || sizeBytes > room) return copied(source);
    const address = localAddress(this.#forWritten.address + this.#writtenBytes);
    this.#writtenBytes += sizeBytes;
    return copiedInto({ address, sizeBytes: room }, source);
  }
}

/** Adds the pages of `large` programs. Returns why that could not be done: a clause. */
function addSnapshots(
  large: readonly GatheredProcess[],
  hasSubreaper: () => boolean,
  sources: PageSource[],
): string | undefined {
  const foreseen = whyNoSnapshots(large, hasSubreaper);
  if (foreseen !== undefined) return foreseen;
  for (const one of large) {
    const counted = one.mappings.filter(({ kind }) => kind.isCounted).map(({ mapping }) => mapping);
    const snapshot = takeSnapshot(one.agent, counted);
    if ('reason' in snapshot) return snapshot.reason;
    const forked = { ...one, mappings: one.mappings.filter(isForked) };
    try {
      sources.push(pagesOfSnapshot(snapshot, forked));
    } catch (error) {
      snapshot.end();
      throw error;
    }
    sources.push(copied(pagesOfTarget({ ...one, mappings: one.mappings.filter((mapping) => !isForked(mapping)) })));
  }
  return undefined;
}
