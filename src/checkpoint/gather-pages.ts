/** Takes hold of a frozen program's pages in the way that lets it go on soonest. */
import { NativeMemory } from '../kernel/native-memory.ts';
import { PAGE } from '../pages/save-job.ts';
import type { Agent } from '../tracee/agent.ts';
import { takeSnapshot } from '../tracee/snapshot.ts';
import type { ObjectContent } from './collect-files.ts';
import { heldContents } from './content.ts';
import { isForked, type PlanOptions } from './page-plan.ts';
import { copied, copiedInto, type PageSource, pagesOfSnapshot, pagesOfTarget } from './page-sources.ts';
import type { ClassifiedMapping } from './preflight.ts';

/** Up to this size a copy in memory costs less time than a snapshot. */
const SMALL_BYTES = 16 * 1024 * 1024;

/**
 * How a program's pages are to be taken: `copy` for small ones, `snapshot` for large ones, `in-place` for one that need not go on.
 */
export type PageMethod = 'copy' | 'snapshot' | 'in-place';

export const methodFor = (residentBytes: number, kill: boolean): PageMethod => {
  if (kill) return 'in-place';
  return residentBytes <= SMALL_BYTES ? 'copy' : 'snapshot';
};

/** Room for the pages of a small program, and for some more that it may touch until it stands still. */
export function arenaFor(method: PageMethod, residentBytes: number): NativeMemory | undefined {
  if (method !== 'copy') return undefined;
  return NativeMemory.allocate(Math.ceil(residentBytes * 1.25) + 1024 * 1024, { populate: true });
}

export interface GatheredPages {
  readonly sources: readonly PageSource[];
  /** Bytes of objects, as they were when the program stood still. */
  readonly contents: readonly ObjectContent[];
  /** False: what was gathered is still the program's own, which has to stand still until it is written. */
  readonly mayGoOn: boolean;
  /** Why that is so, if it should not be. */
  readonly remarks: readonly string[];
}

export interface GatherOptions {
  readonly agent: Agent;
  readonly mappings: readonly ClassifiedMapping[];
  readonly contents: readonly ObjectContent[];
  readonly method: PageMethod;
  readonly arena: NativeMemory | undefined;
  /** Start addresses of mappings of which only written pages have to be read: the others are the parent's. */
  readonly tracked: ReadonlySet<number>;
}

/** Written pages up to this are copied: a snapshot of a large program takes longer. */
const FEW_BYTES = 64 * 1024 * 1024;

export function gatherPages(options: GatherOptions): GatheredPages {
  const { agent, mappings, tracked } = options;
  const gathered = gatherWritten(options);
  if (tracked.size === 0) return gathered;
  const unchanged = pagesOfTarget(agent.pid, mappings, { mayPin: true, tracked, wanted: 'unchanged' });
  return { ...gathered, sources: [...gathered.sources, unchanged] };
}

function gatherWritten(options: GatherOptions): GatheredPages {
  const { agent, mappings, contents, method, tracked } = options;
  const plan: PlanOptions = { mayPin: true, tracked, wanted: 'written' };
  const inPlace = (contents: readonly ObjectContent[], ...remarks: string[]): GatheredPages => ({
    sources: [pagesOfTarget(agent.pid, mappings, plan)],
    contents,
    mayGoOn: false,
    remarks,
  });
  if (method === 'in-place') return inPlace(contents);
  const held = heldContents(contents);
  if (held === undefined)
    return inPlace(contents, 'it stood still until all was written, for its large files without a name');
  const copy = copyOf(options, plan);
  if (copy !== undefined) return { sources: [copy], contents: held, mayGoOn: true, remarks: [] };
  const snapshot = takeSnapshot(agent);
  if ('reason' in snapshot) return inPlace(held, `it stood still until all was written: ${snapshot.reason}`);
  try {
    const rest = copied(
      pagesOfTarget(
        agent.pid,
        mappings.filter((one) => !isForked(one)),
        plan,
      ),
    );
    const forked = pagesOfSnapshot(snapshot, agent.pid, mappings.filter(isForked), tracked);
    return { sources: [rest, forked], contents: held, mayGoOn: true, remarks: [] };
  } catch (error) {
    snapshot.end();
    throw error;
  }
}

function copyOf({ agent, mappings, arena, tracked }: GatherOptions, plan: PlanOptions): PageSource | undefined {
  if (arena === undefined && tracked.size === 0) return undefined;
  const source = pagesOfTarget(agent.pid, mappings, plan);
  if (arena === undefined && source.plan.pages * PAGE <= FEW_BYTES) return copied(source);
  const copy = arena === undefined ? undefined : copiedInto(arena, source);
  if (copy === undefined) source.close();
  return copy;
}
