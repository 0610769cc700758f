/** The threads that move pages: this one, and workers beside it. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DIGEST_SIZE } from '../image/signature.ts';
import { type LoadChunk, type LoadJob, type PlacedChunk, runLoadJob, type VerifyOptions } from './load-job.ts';
import { PAGE, pagesOf, runSaveJob, SaveBuffers, type SaveJob } from './save-job.ts';
import { SharedState } from './shared-state.ts';

const MAX_WORKERS = 3;
/** Below this a worker costs more than it saves. */
const WORTH_A_WORKER_BYTES = 24 * 1024 * 1024;
/** Far beyond what a busy machine needs; a worker that could not even start is not waited for without end. */
const ENDED_WITHIN_MS = 10_000;

/** Called on the crew's own thread after each chunk, with bytes; may throw to end the work. */
export type OnPages = (doneBytes: number, totalBytes: number) => void;

export type SaveOrder = Omit<SaveJob, 'kind' | 'shared'>;

/** `Omit` of each of the two. */
type LoadOrder = LoadJob extends infer Job ? (Job extends LoadJob ? Omit<Job, 'shared'> : never) : never;

export class PageCrew {
  readonly #workers: Worker[] = [];
  /** How many workers have ended their work. */
  readonly #ended = new Int32Array(new SharedArrayBuffer(4));
  readonly #onPages: OnPages;
  #buffers: SaveBuffers | undefined;
  #reached = 0;
  /** By orders that are done. */
  #loadedBytes = 0;

  /** Starts workers for about `expectedBytes` of pages. They take a while to begin: early is good. */
  constructor(expectedBytes: number, onPages: OnPages) {
    this.#onPages = onPages;
    if (expectedBytes < WORTH_A_WORKER_BYTES) return;
    const count = Math.min(MAX_WORKERS, availableParallelism() - 1);
    for (let index = 0; index < count; index++) {
      const worker = new Worker(new URL('./page-worker.js', import.meta.url), { workerData: this.#ended.buffer });
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Touches the buffers for saving, so that no time is lost for it while the target stands still. */
  prepareToSave(): void {
    this.#buffers ??= new SaveBuffers();
  }

  /**
   * Writes all chunks; the stream begins at `position`. `of` tells the progress where this order is part of a larger one.
   * Returns what TAIL and the summary need.
   */
  save(order: SaveOrder, position: number, of?: { readonly pagesBefore: number; readonly pages: number }): SharedState {
    this.prepareToSave();
    const state = SharedState.forChunks(order.chunks.length, position);
    const job: SaveJob = { ...order, kind: 'save', shared: state.buffer };
    this.#send(job);
    const buffers = this.#buffers;
    const pages = order.chunks.reduce((sum, chunk) => sum + pagesOf(chunk), 0);
    const before = (of?.pagesBefore ?? 0) * PAGE;
    const total = (of?.pages ?? pages) * PAGE;
    const afterChunk = (): void => this.#onPages(before + state.read('doneBytes'), total);
    if (buffers !== undefined) runSaveJob(job, state, buffers, afterChunk);
    state.awaitOthers();
    this.#reached = state.position;
    state.throwIfFailed();
    // The last chunk may have been another thread's.
    this.#onPages(before + pages * PAGE, total);
    return state;
  }

  /** How far the stream has been written by the last order, also by one that has failed. */
  get reached(): number {
    return this.#reached;
  }

  verify(chunks: readonly LoadChunk[], options: Pick<VerifyOptions, 'unpacks'> = {}): void {
    this.#load({ kind: 'verify', chunks, ...options });
  }

  /** The same; gives the SHA-256 digests of the data of all chunks. */
  verifyAndDigest(chunks: readonly LoadChunk[], options: Pick<VerifyOptions, 'unpacks'> = {}): Uint8Array[] {
    const digests = new SharedArrayBuffer(chunks.length * DIGEST_SIZE);
    this.#load({ kind: 'verify', chunks, digests, ...options });
    return chunks.map((_, index) => new Uint8Array(digests).slice(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE));
  }

  load(chunks: readonly PlacedChunk[]): void {
    this.#load({ kind: 'load', chunks });
  }

  /** Of what its caller loads itself. May throw to end the work, as {@link OnPages}. */
  tellLoaded(doneBytes: number, totalBytes: number): void {
    this.#loadedBytes = doneBytes;
    this.#onPages(doneBytes, totalBytes);
  }

  #load(order: LoadOrder): void {
    const state = SharedState.forChunks(0, 0);
    const job: LoadJob = { ...order, shared: state.buffer };
    this.#send(job);
    // The checking is not what is waited for: only the loading counts.
    const total = order.kind === 'load' ? order.chunks.reduce((bytes, chunk) => bytes + chunk.rawBytes, 0) : 0;
    const before = this.#loadedBytes;
    runLoadJob(job, state, () => this.#onPages(before + (total === 0 ? 0 : state.read('doneBytes')), before + total));
    state.awaitOthers();
    state.throwIfFailed();
    this.#loadedBytes += total;
    this.#onPages(before + total, before + total);
  }

  #send(job: SaveJob | LoadJob): void {
    if (job.chunks.length < 2) return;
    for (const worker of this.#workers) worker.postMessage(job);
  }

  /**
   * Ends the workers, and waits until none of them runs code any more: a thread that is ended in the middle of a native call,
   * as the end of the process does it, takes the whole process down with it (Node-API calls fail while it is terminated).
   */
  dismiss(): void {
    for (const worker of this.#workers) worker.postMessage(undefined);
    for (;;) {
      const ended = Atomics.load(this.#ended, 0);
      if (ended >= this.#workers.length || Atomics.wait(this.#ended, 0, ended, ENDED_WITHIN_MS) === 'timed-out') return;
    }
  }
}
