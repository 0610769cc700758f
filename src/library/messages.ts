/**
 * What the host program and the pipeline's process say to each other: the order is one argument, the answers are lines of
 * JSON on a pipe. Errors travel as data and become themselves again.
 */
import type { StillProcess } from '../checkpoint/look.ts';
import type { CheckpointRequest } from '../checkpoint/request.ts';
import type { RestartRequest } from '../restart/restart.ts';
import type { ErrorData } from '../support/error-data.ts';

/** The descriptors that the pipeline's process is started with, beside the standard ones. */
export const REPLY_FD = 3;
export const FIRST_STREAM_FD = 4;

export interface CheckpointOrder {
  readonly kind: 'checkpoint';
  readonly pid: number;
  /** The host program itself: nothing is said until it goes on, because it cannot listen. */
  readonly self: boolean;
  /** A path or an address; `-` is standard output. */
  readonly output: string;
  readonly kill: boolean;
  /** zstd level; 0 for none; `auto`: what is best for the output. */
  readonly compress: number | 'auto';
  /** The image that it builds on. */
  readonly parent?: string | undefined;
  readonly track: boolean;
  readonly tcp: CheckpointRequest['tcp'];
  readonly outside?: CheckpointRequest['outside'];
  /** Key files, by their paths. */
  readonly encrypt?: readonly string[] | undefined;
  readonly sign?: string | undefined;
  readonly keys?: readonly string[] | undefined;
}

export interface RestartOrder {
  readonly kind: 'restart';
  /** A path or an address; `-` is standard input. */
  readonly source: string;
  readonly acceptChangedFiles: boolean;
  readonly images?: string | undefined;
  readonly keys?: readonly string[] | undefined;
  readonly verifyKey?: string | undefined;
  readonly trust: boolean;
  /** Pages come when it runs. */
  readonly lazy?: boolean;
  readonly clock?: RestartRequest['clock'];
  readonly cgroups?: RestartRequest['cgroups'];
}

export type Order = CheckpointOrder | RestartOrder;

export type Reply =
  | { readonly kind: 'progress'; readonly doneBytes: number; readonly totalBytes: number }
  /** A process with this pid is about to be made, as a child of the host program. */
  | { readonly kind: 'planned'; readonly pid: number }
  | { readonly kind: 'done'; readonly summary: unknown }
  | { readonly kind: 'failed'; readonly error: ErrorData };

/** To the process that makes a tree stand still: bytes to read. */
export interface StillOrder {
  readonly pid: number;
  readonly address: number;
  readonly length: number;
}

export type StillReply =
  | { readonly kind: 'still'; readonly processes: readonly StillProcess[] }
  | { readonly kind: 'bytes'; readonly base64: string }
  | { readonly kind: 'released' }
  | { readonly kind: 'failed'; readonly error: ErrorData };
