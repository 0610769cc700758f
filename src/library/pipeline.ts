/** Starts the pipeline's process, passes progress on, carries an abort to it, and leaves nothing when it fails. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { endOwnChild } from '../kernel/calls/wait-async.ts';
import { asPid } from '../support/brand.ts';
import { rebuildError } from '../support/error-data.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type Order, REPLY_FD, type Reply } from './messages.ts';

export interface Progress {
  /** Bytes of pages that have been moved so far, and that there are. */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface PipelineOptions {
  /** Ends the work between two steps; the target goes on unharmed, and nothing is left behind. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

interface Streams {
  /** Where the image comes from, for the pipeline's standard input. */
  readonly source?: Readable;
  /** Where the image goes, from its standard output. */
  readonly sink?: Writable;
  /** What the restarted program's standard streams are attached to. */
  readonly restarted: readonly [number, number, number];
}

export async function runPipeline<Summary>(order: Order, options: PipelineOptions, streams: Streams): Promise<Summary> {
  if (options.signal?.aborted) throw new QuicksaveError('interrupted', 'It was interrupted before it began.');
  const program = fileURLToPath(new URL('./pipeline-process.js', import.meta.url));
  const { source, sink, restarted } = streams;
  const stdio: StdioOptions = [source ? 'pipe' : 'ignore', sink ? 'pipe' : 'ignore', 'inherit', 'pipe', ...restarted];
  // As in bin/quicksave.
  const child = spawn(process.execPath, ['--single-threaded-gc', program, JSON.stringify(order)], { stdio });
  const onAbort = (): void => void child.kill('SIGTERM');
  options.signal?.addEventListener('abort', onAbort);
  const pumped = pump(child, streams);
  try {
    const summary = await settle<Summary>(child, options);
    await pumped;
    return summary;
  } catch (error) {
    sink?.destroy();
    source?.destroy();
    await pumped.catch(() => undefined);
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
}

async function pump(child: ChildProcess, { source, sink }: Streams): Promise<void> {
  if (source !== undefined && child.stdin !== null) {
    // An image that is refused is not read to its end.
    await pipeline(source, child.stdin).catch(() => undefined);
  }
  if (sink !== undefined && child.stdout !== null) await pipeline(child.stdout, sink);
}

/** The answer of the pipeline's process, when it has ended. */
async function settle<Summary>(child: ChildProcess, options: PipelineOptions): Promise<Summary> {
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  let last: Extract<Reply, { kind: 'done' | 'failed' }> | undefined;
  let planned: number | undefined;
  const replies = child.stdio[REPLY_FD] as Readable;
  const lines = createInterface({ input: replies });
  lines.on('line', (line) => {
    const reply = JSON.parse(line) as Reply;
    if (reply.kind === 'progress') options.onProgress?.({ doneBytes: reply.doneBytes, totalBytes: reply.totalBytes });
    else if (reply.kind === 'planned') planned = reply.pid;
    else last = reply;
  });
  await Promise.all([ended, finished(replies).catch(() => undefined)]);
  if (last?.kind === 'done') return last.summary as Summary;
  // A process that was begun is our child: whatever is left of it is ours to end.
  if (planned !== undefined) await endOwnChild(asPid(planned));
  if (last !== undefined) throw rebuildError(last.error);
  if (options.signal?.aborted) throw new QuicksaveError('interrupted', 'It was interrupted before it began.');
  const how = child.signalCode === null ? `status ${child.exitCode}` : child.signalCode;
  throw new QuicksaveError('internal', `The process of the pipeline ended early (${how}).`);
}
