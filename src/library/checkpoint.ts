/** Saving a process from code. */
import type { Writable } from 'node:stream';
import type { CheckpointSummary } from '../checkpoint/request.ts';
import { type PipelineOptions, runPipeline } from './pipeline.ts';

export interface CheckpointOptions extends PipelineOptions {
  /** End the process once the image is complete (and, for a file, on disk). Default false: it goes on. */
  readonly kill?: boolean;
  /** zstd level 1 to 19; default: pages are not compressed. */
  readonly compress?: number;
}

/**
 * Saves the process `pid` into a file, which appears under its name when it is complete, or into any stream.
 *
 * Rejects with RefusedError, which lists every reason, when the process cannot be saved; with QuicksaveError otherwise.
 * Whatever happens, the process goes on unless it was to be ended.
 */
export function checkpoint(
  pid: number,
  sink: string | Writable,
  options: CheckpointOptions = {},
): Promise<CheckpointSummary> {
  const { kill = false, compress: level = 0 } = options;
  const output = typeof sink === 'string' ? sink : '-';
  const streams = typeof sink === 'string' ? {} : { sink };
  return runPipeline({ kind: 'checkpoint', pid, self: false, output, kill, level }, options, {
    ...streams,
    restarted: [0, 1, 2],
  });
}
