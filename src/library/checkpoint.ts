/** Saving a process from code. */
import type { Writable } from 'node:stream';
import { outsidePolicyOf } from '../checkpoint/outside-choice.ts';
import type { CheckpointRequest, CheckpointSummary } from '../checkpoint/request.ts';
import { type PipelineOptions, runPipeline } from './pipeline.ts';

export interface CheckpointOptions extends PipelineOptions {
  /** End the process once the image is complete (and, for a file, on disk). Default false: it goes on. */
  readonly kill?: boolean;
  /** zstd level 1 to 19, or 0 for none; default: as much as the disk is slower than compressing. */
  readonly compress?: number;
  /** An earlier image of the process, a file: only pages that differ from it are written. The new image needs it. */
  readonly parent?: string;
  /** Track what the process writes from now on: a save with this image as its parent is short then. Default: false. */
  readonly track?: boolean;
  /** What becomes of TCP connections: kept, come back as reset, or refused. Default: established. */
  readonly tcp?: CheckpointRequest['tcp'];
  /** UNIX sockets outside, by paths or @names: who is connected to them is connected again by a restart. */
  readonly external?: readonly string[];
  /** Other connections and pipes to processes outside come back as closed by the other end. Default: they are refused. */
  readonly closeExternal?: boolean;
  /** Key files, secrets or public X25519 keys: the image is encrypted for whoever has one of them. */
  readonly encrypt?: readonly string[];
  /** File of a private Ed25519 key that signs the image. */
  readonly sign?: string;
  /** Key files that open an encrypted parent, beside those of `encrypt`. */
  readonly keys?: readonly string[];
}

/**
 * Saves the process `pid` into a file or to another host (`s3://…`, `ssh://…`), where it appears under its name when it is complete, or into
 * any stream.
 *
 * Rejects with RefusedError, which lists every reason, when the process cannot be saved; with QuicksaveError otherwise.
 * Whatever happens, the process goes on unless it was to be ended.
 */
export async function checkpoint(
  pid: number,
  sink: string | Writable,
  options: CheckpointOptions = {},
): Promise<CheckpointSummary> {
  const { kill = false, compress = 'auto', parent, track = false, tcp = 'established' } = options;
  const { encrypt, sign, keys } = options;
  const output = typeof sink === 'string' ? sink : '-';
  const streams = typeof sink === 'string' ? {} : { sink };
  const outside = outsidePolicyOf(options);
  const protection = { encrypt, sign, keys };
  return runPipeline(
    { kind: 'checkpoint', pid, self: false, output, kill, compress, parent, track, tcp, outside, ...protection },
    options,
    { ...streams, restarted: [0, 1, 2] },
  );
}
