/** Which pages the image carries, cut into chunks for the crew. */

import { FS } from '../kernel/abi/fs.ts';
import { type PageQuery, tryScanPages } from '../kernel/calls/pagemap.ts';
import { CHUNK_PAGES, PAGE, type PageRange, type SaveChunk } from '../pages/save-job.ts';
import type { PagePolicy } from '../resources/resource.ts';
import type { LocalFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { ClassifiedMapping } from './preflight.ts';

const { PAGE_IS_FILE, PAGE_IS_PFNZERO, PAGE_IS_PRESENT, PAGE_IS_SWAPPED } = FS;
const IN_USE = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;

/** Pages that hold something of the program's own. The shared zero page holds nothing. */
const queries: Record<Exclude<PagePolicy, 'none'>, PageQuery> = {
  'all-present': { all: PAGE_IS_PFNZERO, any: IN_USE, inverted: PAGE_IS_PFNZERO, tell: 0 },
  'differing-from-file': { all: PAGE_IS_FILE, any: IN_USE, inverted: PAGE_IS_FILE, tell: 0 },
};

export interface PagePlan {
  readonly chunks: readonly SaveChunk[];
  readonly pages: number;
}

/** `mayPin`: not a snapshot, whose pages may be read through /proc/PID/mem only. */
export function planPages(pagemap: LocalFd, mappings: readonly ClassifiedMapping[], mayPin = true): PagePlan {
  const builder = new ChunkBuilder();
  for (const { policy, readable, start, end } of joinNeighbours(mappings)) {
    const regions = tryScanPages(pagemap, start, end, queries[policy]);
    if (regions === undefined) {
      throw new QuicksaveError(
        'old-kernel',
        'This kernel cannot tell which pages are in use (PAGEMAP_SCAN, Linux 6.7).',
        {
          remedy: 'Use a newer kernel.',
        },
      );
    }
    for (const region of regions) {
      builder.add(
        { start: region.start, pages: (region.end - region.start) / PAGE },
        policy !== 'all-present',
        !(readable && mayPin),
      );
    }
  }
  return builder.finish();
}

/** fork(2) gives it to a child as it is. */
export const isForked = ({ mapping }: ClassifiedMapping): boolean =>
  !mapping.shared && !mapping.vmFlags.includes('dc') && !mapping.vmFlags.includes('wf');

interface Stretch {
  readonly policy: Exclude<PagePolicy, 'none'>;
  readonly readable: boolean;
  readonly start: number;
  end: number;
}

/** Neighbours of one policy are scanned in one call: a program may have ten thousand mappings of a page. */
function joinNeighbours(mappings: readonly ClassifiedMapping[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (const { mapping, kind } of mappings) {
    if (kind.pages === 'none') continue;
    const last = stretches[stretches.length - 1];
    const joins = last?.end === mapping.start && last.policy === kind.pages && last.readable === mapping.read;
    if (joins && last !== undefined) last.end = mapping.end;
    else stretches.push({ policy: kind.pages, readable: mapping.read, start: mapping.start, end: mapping.end });
  }
  return stretches;
}

class ChunkBuilder {
  readonly #chunks: SaveChunk[] = [];
  #ranges: PageRange[] = [];
  #inChunk = 0;
  #pages = 0;
  #keepZeroPages = false;
  #throughMem = false;

  add(range: PageRange, keepZeroPages: boolean, throughMem: boolean): void {
    if (keepZeroPages !== this.#keepZeroPages || throughMem !== this.#throughMem) this.#close();
    this.#keepZeroPages = keepZeroPages;
    this.#throughMem = throughMem;
    for (let done = 0; done < range.pages; ) {
      const pages = Math.min(range.pages - done, CHUNK_PAGES - this.#inChunk);
      this.#ranges.push({ start: range.start + done * PAGE, pages });
      this.#inChunk += pages;
      done += pages;
      if (this.#inChunk === CHUNK_PAGES) this.#close();
    }
    this.#pages += range.pages;
  }

  #close(): void {
    if (this.#ranges.length > 0) {
      this.#chunks.push({ ranges: this.#ranges, keepZeroPages: this.#keepZeroPages, throughMem: this.#throughMem });
    }
    this.#ranges = [];
    this.#inChunk = 0;
  }

  finish(): PagePlan {
    this.#close();
    return { chunks: this.#chunks, pages: this.#pages };
  }
}
