/** Bringing a process back from code. */
import type { Readable } from 'node:stream';
import { waitForChild } from '../kernel/calls/wait-async.ts';
import type { RestartRequest, RestartSummary } from '../restart/restart.ts';
import { asPid } from '../support/brand.ts';
import { type PipelineOptions, runPipeline } from './pipeline.ts';

export interface RestartOptions extends PipelineOptions {
  /** Take files that have changed since the save. Default false: they are a reason to refuse. */
  readonly acceptChangedFiles?: boolean;
  /** The folder where the parents of an incremental image are; default: that of the image. */
  readonly images?: string;
  /** Key files that open encrypted images: secrets, private X25519 keys. */
  readonly keys?: readonly string[];
  /** File of an Ed25519 public key: images that are not signed by its owner are refused. */
  readonly verifyKey?: string;
  /** Take images that belong to other users. Default: they are refused. */
  readonly trust?: boolean;
  /**
   * Let it run at once: its pages come when they are touched, and the others behind it. The promise is fulfilled when all are there. Only from a
   * plain image in a file. Default false.
   */
  readonly lazy?: boolean;
  /**
   * CLOCK_MONOTONIC and CLOCK_BOOTTIME: those of this host, or going on from where they stood (CAP_SYS_ADMIN, CAP_SYS_TIME). Default: as the
   * program had it.
   */
  readonly clock?: NonNullable<RestartRequest['clock']>;
  /**
   * The cgroups that it was in: `join` those that are there and may be joined, and tell of the others; `create` the missing ones, and refuse if it
   * cannot be in all of them; `ignore`: it stays in our own. Default `join`.
   */
  readonly cgroups?: NonNullable<RestartRequest['cgroups']>;
  /** Our descriptors for standard streams that led to the outside. Default: our own. */
  readonly streams?: readonly [number, number, number];
}

/** How the restarted process has ended. */
export type End = { readonly status: number } | { readonly signal: number };

export interface Restarted extends RestartSummary {
  /**
   * Settles when the process, our child, ends; to be called once. Until then the ended process stays a zombie, as any child
   * does that nobody waits for.
   */
  readonly exited: () => Promise<End>;
}

/**
 * Brings a process back from a file, another host (`s3://…`, `ssh://…`) or a stream, with the pid that it had, as our child.
 *
 * Rejects with RefusedError, which lists every reason, before any process is made; with ImageError when the image is cut
 * or damaged. Nothing is left behind then.
 */
export async function restart(source: string | Readable, options: RestartOptions = {}): Promise<Restarted> {
  const {
    acceptChangedFiles = false,
    images,
    keys,
    verifyKey,
    trust = false,
    lazy = false,
    clock,
    cgroups,
    streams: restarted = [0, 1, 2],
  } = options;
  const isPath = typeof source === 'string';
  const summary = await runPipeline<RestartSummary>(
    {
      kind: 'restart',
      source: isPath ? source : '-',
      acceptChangedFiles,
      images,
      keys,
      verifyKey,
      trust,
      lazy,
      clock,
      cgroups,
    },
    options,
    isPath ? { restarted } : { source, restarted },
  );
  return { ...summary, exited: () => endOf(summary.pid) };
}

async function endOf(pid: number): Promise<End> {
  const event = await waitForChild(asPid(pid));
  return event.kind === 'exited' ? { status: event.status } : { signal: event.signal };
}
