/** Counts the pages of an image by object and by range, from the page chunks as they come. */
import { PAGE_SIZE, type PageRun } from '../image/page-chunk.ts';
import type { ChunkRecord } from '../image/reader.ts';

export interface PageCounts {
  /** Pages whose bytes are in the image. */
  readonly dataPages: number;
  /** Pages that the image says are zero. */
  readonly zeroPages: number;
  /** Pages that the image has from its parent. Missing: none. */
  readonly parentPages?: number;
  /** Pages that are those of another memory of the image. Missing: none. */
  readonly relativePages?: number;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

type Sum = { -readonly [Key in keyof PageCounts]: PageCounts[Key] };

export class PageTally {
  readonly #runs = new Map<number, PageRun[]>();
  #storedBytes = 0;

  get storedBytes(): number {
    return this.#storedBytes;
  }

  add({ objref, runs, storedBytes }: Pick<ChunkRecord, 'objref' | 'runs' | 'storedBytes'>): void {
    const known = this.#runs.get(objref) ?? [];
    for (const run of runs) known.push(run);
    this.#runs.set(objref, known);
    this.#storedBytes += storedBytes;
  }

  has(object: number): boolean {
    return this.#runs.has(object);
  }

  of(object: number): PageCounts {
    return countPages(this.#runs.get(object) ?? []);
  }

  total(): PageCounts {
    return countPages([...this.#runs.values()].flat());
  }

  /** Pages of an object in each of the ranges, which ascend and do not overlap. */
  perRange(object: number, ranges: readonly Range[]): PageCounts[] {
    const runs = [...(this.#runs.get(object) ?? [])].sort((a, b) => a.start - b.start);
    let next = 0;
    return ranges.map((range) => {
      const sum: Sum = { dataPages: 0, zeroPages: 0 };
      while (endOf(runs[next]) <= range.start) next++;
      for (let index = next; (runs[index]?.start ?? Number.POSITIVE_INFINITY) < range.end; index++) {
        const run = runs[index];
        if (run !== undefined) addPages(sum, run, overlap(run, range));
      }
      return sum;
    });
  }
}

const endOf = (run: PageRun | undefined): number =>
  run === undefined ? Number.POSITIVE_INFINITY : run.start + run.pages * PAGE_SIZE;

const overlap = (run: PageRun, range: Range): number =>
  (Math.min(endOf(run), range.end) - Math.max(run.start, range.start)) / PAGE_SIZE;

function addPages(sum: Sum, { kind }: PageRun, pages: number): void {
  if (kind === 'zero') sum.zeroPages += pages;
  else if (kind === 'data') sum.dataPages += pages;
  else if (kind === 'parent') sum.parentPages = (sum.parentPages ?? 0) + pages;
  else sum.relativePages = (sum.relativePages ?? 0) + pages;
}

function countPages(runs: readonly PageRun[]): PageCounts {
  const sum: Sum = { dataPages: 0, zeroPages: 0 };
  for (const run of runs) addPages(sum, run, run.pages);
  return sum;
}
