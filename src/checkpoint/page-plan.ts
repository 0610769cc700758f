/** Which pages the image carries, cut into chunks for the crew. */

import { FS } from '../kernel/abi/fs.ts';
import { type PageQuery, type PageRegion, tryScanPages } from '../kernel/calls/pagemap.ts';
import { CHUNK_PAGES, PAGE, type PageRange, type SaveChunk, UNREAD_CHUNK_PAGES } from '../pages/save-job.ts';
import type { Mapping } from '../procfs/smaps.ts';
import type { PagePolicy } from '../resources/resource.ts';
import type { LocalFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { ClassifiedMapping } from './preflight.ts';

const { PAGE_IS_FILE, PAGE_IS_GUARD, PAGE_IS_PFNZERO, PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_WRITTEN } = FS;
const IN_USE = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;

/** Pages that hold something of the program's own. The shared zero page holds nothing. */
const queryOf: Record<Exclude<PagePolicy, 'none'>, PageQuery> = {
  'all-present': { all: PAGE_IS_PFNZERO, any: IN_USE, inverted: PAGE_IS_PFNZERO, tell: 0 },
  'differing-from-file': { all: PAGE_IS_FILE, any: IN_USE, inverted: PAGE_IS_FILE, tell: 0 },
};

/** A guard page has an entry as a page in swap has. Kernels before 6.15 do not know the question, nor print `gu`. */
const withoutGuards = (query: PageQuery): PageQuery => ({
  ...query,
  all: query.all | PAGE_IS_GUARD,
  inverted: query.inverted | PAGE_IS_GUARD,
});

const guards: PageQuery = { all: PAGE_IS_GUARD, any: 0, inverted: 0, tell: 0 };

const hasGuards = ({ vmFlags }: Mapping): boolean => vmFlags.includes('gu');

/** Pages of a mapping that MADV_GUARD_INSTALL has made inaccessible (Linux 6.13). */
export function guardPages(pagemap: () => LocalFd, mapping: Mapping): PageRange[] {
  if (!hasGuards(mapping)) return [];
  const regions = tryScanPages(pagemap(), mapping.start, mapping.end, guards) ?? [];
  return regions.map(({ start, end }) => ({ start, pages: (end - start) / PAGE }));
}

export interface PagePlan {
  readonly chunks: readonly SaveChunk[];
  readonly pages: number;
}

export interface PlanOptions {
  /** Not a snapshot, whose pages may be read through /proc/PID/mem only. */
  readonly mayPin: boolean;
  /** Start addresses of mappings whose marks of written pages are to be believed. */
  readonly tracked: ReadonlySet<number>;
  /** `written`: of those mappings only pages that were written. `unchanged`: only the others, which need not be read. */
  readonly wanted: 'written' | 'unchanged';
  /** Of a program that stands still, what was found in a tracked mapping is not looked for again. */
  readonly scans?: TrackedScans | undefined;
}

/** By the place of the memory, what of it is written and what is not. */
export type TrackedScans = Map<string, readonly PageRegion[]>;

export const ALL_PAGES: PlanOptions = { mayPin: true, tracked: new Set(), wanted: 'written' };

export function planPages(
  pagemap: LocalFd,
  mappings: readonly ClassifiedMapping[],
  { mayPin, tracked, wanted, scans }: PlanOptions = ALL_PAGES,
): PagePlan {
  const builder = new ChunkBuilder(wanted === 'unchanged');
  for (const { policy, readable, guarded, isTracked, start, end } of joinNeighbours(mappings, tracked)) {
    if (wanted === 'unchanged' && !isTracked) continue;
    const query = guarded ? withoutGuards(queryOf[policy]) : queryOf[policy];
    const scan = (tell: number): PageRegion[] => scanPages(pagemap, start, end, { ...query, tell });
    for (const region of isTracked ? marked(scans, `${start}-${end}`, scan, wanted) : scan(0)) {
      builder.add(
        { start: region.start, pages: (region.end - region.start) / PAGE },
        policy !== 'all-present',
        !(readable && mayPin),
      );
    }
  }
  return builder.finish();
}

function scanPages(pagemap: LocalFd, start: number, end: number, query: PageQuery): PageRegion[] {
  const regions = tryScanPages(pagemap, start, end, query);
  if (regions !== undefined) return regions;
  throw new QuicksaveError('old-kernel', 'This kernel cannot tell which pages are in use (PAGEMAP_SCAN, Linux 6.7).', {
    remedy: 'Use a newer kernel.',
  });
}

/**
 * Only the mark of a page that is there is believed. In a mapping of a file the mark outlives the page (a marker in the page table, which looks like a
 * page in swap): MADV_DONTNEED brings the file's page back, and no write.
 */
const isUnchanged = ({ categories }: PageRegion): boolean =>
  (categories & (PAGE_IS_PRESENT | PAGE_IS_WRITTEN)) === PAGE_IS_PRESENT;

function marked(
  scans: TrackedScans | undefined,
  place: string,
  scan: (tell: number) => PageRegion[],
  wanted: PlanOptions['wanted'],
): PageRegion[] {
  const all = scans?.get(place) ?? scan(PAGE_IS_PRESENT | PAGE_IS_WRITTEN);
  scans?.set(place, all);
  return all.filter((region) => isUnchanged(region) === (wanted === 'unchanged'));
}

/** fork(2) gives it to a child as it is. */
export const isForked = ({ mapping }: ClassifiedMapping): boolean =>
  !mapping.shared && !mapping.vmFlags.includes('dc') && !mapping.vmFlags.includes('wf');

interface Stretch {
  readonly policy: Exclude<PagePolicy, 'none'>;
  readonly readable: boolean;
  readonly guarded: boolean;
  readonly isTracked: boolean;
  readonly start: number;
  end: number;
}

/** Neighbours of one policy are scanned in one call: a program may have ten thousand mappings of a page. */
function joinNeighbours(mappings: readonly ClassifiedMapping[], tracked: ReadonlySet<number>): Stretch[] {
  const stretches: Stretch[] = [];
  for (const { mapping, kind } of mappings) {
    if (kind.pages === 'none') continue;
    const last = stretches[stretches.length - 1];
    const { start, end } = mapping;
    // A pin takes a page of one's own from the pool as well (gup_must_unshare() in the kernel).
    const readable = mapping.read && kind.isUnforkable !== true;
    const next = {
      policy: kind.pages,
      readable,
      guarded: hasGuards(mapping),
      isTracked: tracked.has(start),
      start,
      end,
    };
    const isAlike =
      last?.policy === next.policy &&
      last.readable === readable &&
      last.guarded === next.guarded &&
      last.isTracked === next.isTracked;
    if (isAlike && last.end === start) last.end = end;
    else stretches.push(next);
  }
  return stretches;
}

class ChunkBuilder {
  readonly #unchanged: boolean;
  readonly #chunkPages: number;
  readonly #chunks: SaveChunk[] = [];
  #ranges: PageRange[] = [];
  #inChunk = 0;
  #pages = 0;
  #keepZeroPages = false;
  #throughMem = false;

  /** `unchanged`: pages that are not read, so that a chunk may have more of them. */
  constructor(unchanged: boolean) {
    this.#unchanged = unchanged;
    this.#chunkPages = unchanged ? UNREAD_CHUNK_PAGES : CHUNK_PAGES;
  }

  add(range: PageRange, keepZeroPages: boolean, throughMem: boolean): void {
    if (keepZeroPages !== this.#keepZeroPages || throughMem !== this.#throughMem) this.#close();
    this.#keepZeroPages = keepZeroPages;
    this.#throughMem = throughMem;
    for (let done = 0; done < range.pages; ) {
      const pages = Math.min(range.pages - done, this.#chunkPages - this.#inChunk);
      this.#ranges.push({ start: range.start + done * PAGE, pages });
      this.#inChunk += pages;
      done += pages;
      if (this.#inChunk === this.#chunkPages) this.#close();
    }
    this.#pages += range.pages;
  }

  #close(): void {
    if (this.#ranges.length > 0) {
      this.#chunks.push({
        ranges: this.#ranges,
        keepZeroPages: this.#keepZeroPages,
        throughMem: this.#throughMem,
        unchanged: this.#unchanged,
      });
    }
    this.#ranges = [];
    this.#inChunk = 0;
  }

  finish(): PagePlan {
    this.#close();
    return { chunks: this.#chunks, pages: this.#pages };
  }
}
