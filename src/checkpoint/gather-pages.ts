/** Takes hold of a frozen program's pages in the way that lets it go on soonest. */
import { NativeMemory } from '../kernel/native-memory.ts';
import type { Agent } from '../tracee/agent.ts';
import { takeSnapshot } from '../tracee/snapshot.ts';
import type { ObjectContent } from './collect-files.ts';
import { heldContents } from './content.ts';
import { isForked } from './page-plan.ts';
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
}

export function gatherPages(options: GatherOptions): GatheredPages {
  const { agent, mappings, contents, method } = options;
  const inPlace = (contents: readonly ObjectContent[], ...remarks: string[]): GatheredPages => ({
    sources: [pagesOfTarget(agent.pid, mappings)],
    contents,
    mayGoOn: false,
    remarks,
  });
  if (method === 'in-place') return inPlace(contents);
  const held = heldContents(contents);
  if (held === undefined)
    return inPlace(contents, 'it stood still until all was written, for its large files without a name');
  const copy = copyOf(options);
  if (copy !== undefined) return { sources: [copy], contents: held, mayGoOn: true, remarks: [] };
  const snapshot = takeSnapshot(agent);
  if ('reason' in snapshot) return inPlace(held, `it stood still until all was written: ${snapshot.reason}`);
  try {
    const rest = copied(
      pagesOfTarget(
        agent.pid,
        mappings.filter((one) => !isForked(one)),
      ),
    );
    const forked = pagesOfSnapshot(snapshot, mappings.filter(isForked));
    return { sources: [rest, forked], contents: held, mayGoOn: true, remarks: [] };
  } catch (error) {
    snapshot.end();
    throw error;
  }
}

function copyOf({ agent, mappings, arena }: GatherOptions): PageSource | undefined {
  if (arena === undefined) return undefined;
  const source = pagesOfTarget(agent.pid, mappings);
  const copy = copiedInto(arena, source);
  if (copy === undefined) source.close();
  return copy;
}
