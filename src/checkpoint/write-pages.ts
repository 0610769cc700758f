/** Write: the pages of all sources, by the crew, compressed as was asked or as turns out to be best. */
import type { PageCrew } from '../pages/page-crew.ts';
import type { Relative } from '../pages/relative-pages.ts';
import { CHUNK_DIGEST_BYTES, chunkDigests, PAGE, pagesOf, type SaveChunk } from '../pages/save-job.ts';
import type { SharedState } from '../pages/shared-state.ts';
import { type Compression, chooseCompression, TRIAL_BYTES, Trial } from './compression-choice.ts';
import type { Output } from './output.ts';
import type { PageSource } from './page-sources.ts';
import type { ImageStream } from './write-image.ts';

export interface PagesOrder {
  readonly stream: ImageStream;
  readonly crew: PageCrew;
  readonly output: Output;
  readonly sources: readonly PageSource[];
  /** Of a process: pages that need not be written again, see pages/parent-pages.ts. By the objref of its memory. */
  readonly parents: ReadonlyMap<number, SharedArrayBuffer>;
  /** By the objref of a memory, in the order of its MM. */
  readonly relatives: ReadonlyMap<number, readonly Relative[]>;
  readonly compression: Compression;
  /** The program stands still for it, and is to go on. */
  readonly isWaitedFor: boolean;
}

export interface WrittenPages {
  readonly pages: number;
  /** Those that the parent image has. */
  readonly parentPages: number;
  /** Those that another process of the tree has. */
  readonly relativePages: number;
  /** Bytes of the pages that the image has, and what they and the heads of their chunks take in it. */
  readonly rawBytes: number;
  readonly storedBytes: number;
  /** What compression came to; for what is not written by the crew. */
  readonly level: number | undefined;
}

export function writePages(order: PagesOrder): WrittenPages {
  const pages = order.sources.reduce((sum, { plan }) => sum + plan.pages, 0);
  const choice = chooseCompression(order.compression, { ...order, pageBytes: pages * PAGE });
  const writing = new Writing(order, pages);
  const trial = choice === 'trial' ? new Trial() : undefined;
  for (const source of order.sources) {
    try {
      const begun = trial === undefined ? 0 : writing.tryLevels(source, trial);
      writing.write(source, begun, source.plan.chunks.length, choice === 'trial' ? trial?.best : choice);
    } catch (error) {
      // It may have been a relative of its own that could not be read.
      throw order.sources.reduce((told, one) => one.explain(told), error);
    }
  }
  const { rawBytes, storedBytes, parentPages, relativePages } = writing;
  return { pages, parentPages, relativePages, rawBytes, storedBytes, level: choice === 'trial' ? trial?.best : choice };
}

class Writing {
  readonly #order: PagesOrder;
  readonly #pages: number;
  #pagesBefore = 0;
  rawBytes = 0;
  storedBytes = 0;
  parentPages = 0;
  relativePages = 0;

  constructor(order: PagesOrder, pages: number) {
    this.#order = order;
    this.#pages = pages;
  }

  /** Writes the first chunks of a source with one level after the other; returns how many. */
  tryLevels(source: PageSource, trial: Trial): number {
    const { chunks } = source.plan;
    let begun = 0;
    for (let level = trial.next; level !== undefined; level = trial.next) {
      const count = chunksUpTo(chunks, begun, TRIAL_BYTES);
      if (count === undefined) return begun;
      const before = performance.now();
      const { rawBytes, storedBytes } = this.write(source, begun, begun + count, level);
      // Where most was a relative's, the time says nothing of the level.
      if (rawBytes * 2 >= TRIAL_BYTES)
        trial.note(level, { ms: performance.now() - before, rawBytes, storedBytes }, this.#order.output.fd);
      begun += count;
    }
    return begun;
  }

  /** Chunks `from`..`to` (end exclusive) of a source. */
  write(
    source: PageSource,
    from: number,
    to: number,
    level: number | undefined,
  ): Pick<WrittenPages, 'rawBytes' | 'storedBytes'> {
    const { stream, crew, output, parents } = this.#order;
    const relatives = this.#order.relatives.get(source.objref) ?? [];
    const { pid, memory, objref, plan } = source;
    const parent = parents.get(objref);
    const chunks = plan.chunks.slice(from, to);
    const before = pagesIn(plan.chunks.slice(0, from));
    const copy = source.copy === 0 ? 0 : source.copy + before * PAGE;
    const { encryption, writer } = stream;
    const digests = writer.isSigned ? new SharedArrayBuffer(chunks.length * CHUNK_DIGEST_BYTES) : undefined;
    const target = { output: output.fd, positioned: output.positioned, encryption, digests };
    const job = { pid, memory, copy, objref, ...target, level, chunks, parent, relatives };
    const of = { pagesBefore: this.#pagesBefore, pages: this.#pages };
    const state = crew.save(job, writer.position, of);
    adoptChunks(stream, state, digests);
    this.#pagesBefore += pagesIn(chunks);
    const [parentPages, relativePages] = [state.read('parentPages'), state.read('relativePages')];
    const rawBytes = (pagesIn(chunks) - state.read('zeroPages') - parentPages - relativePages) * PAGE;
    const storedBytes = state.read('storedBytes');
    this.rawBytes += rawBytes;
    this.storedBytes += storedBytes;
    this.parentPages += parentPages;
    this.relativePages += relativePages;
    return { rawBytes, storedBytes };
  }
}

const pagesIn = (chunks: readonly SaveChunk[]): number => chunks.reduce((sum, chunk) => sum + pagesOf(chunk), 0);

/** How many chunks from `from` on come to so many bytes; undefined if all that are left do not. */
function chunksUpTo(chunks: readonly SaveChunk[], from: number, sizeBytes: number): number | undefined {
  let found = 0;
  for (let index = from; index < chunks.length; index++) {
    found += pagesIn(chunks.slice(index, index + 1)) * PAGE;
    if (found >= sizeBytes) return index + 1 - from;
  }
  return undefined;
}

/** The crew has written its records itself; the writer takes them into its account. */
function adoptChunks(stream: ImageStream, state: SharedState, digests: SharedArrayBuffer | undefined): void {
  const { writer } = stream;
  const written = state.results().sort((a, b) => a.position - b.position);
  written.forEach(({ chunk, position, crc }, index) => {
    const end = written[index + 1]?.position ?? state.position;
    writer.noteChecksum(writer.reserve(end - position), crc);
    if (digests !== undefined) writer.noteDigests(position, chunkDigests(digests, chunk));
  });
  stream.countSegments(state.read('segments'));
}
