/**
 * What the host program and the pipeline's process say to each other: the order is one argument, the answers are lines of
 * JSON on a pipe. Errors travel as data and become themselves again.
 */
import type { StillProcess } from '../checkpoint/look.ts';
import type { RestartRequest } from '../restart/restart.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { ImageError, type Problem, QuicksaveError, RefusedError } from '../support/errors.ts';

/** The descriptors that the pipeline's process is started with, beside the standard ones. */
export const REPLY_FD = 3;
export const FIRST_STREAM_FD = 4;

export interface CheckpointOrder {
  readonly kind: 'checkpoint';
  readonly pid: number;
  /** The host program itself: nothing is said until it goes on, because it cannot listen. */
  readonly self: boolean;
  /** A path; `-` is standard output. */
  readonly output: string;
  readonly kill: boolean;
  /** zstd level; 0 for none; `auto`: what is best for the output. */
  readonly compress: number | 'auto';
  /** The image that it builds on. */
  readonly parent?: string | undefined;
  readonly track: boolean;
  /** Key files, by their paths. */
  readonly encrypt?: readonly string[] | undefined;
  readonly sign?: string | undefined;
  readonly keys?: readonly string[] | undefined;
}

export interface RestartOrder {
  readonly kind: 'restart';
  /** A path; `-` is standard input. */
  readonly source: string;
  readonly acceptChangedFiles: boolean;
  readonly images?: string | undefined;
  readonly keys?: readonly string[] | undefined;
  readonly verifyKey?: string | undefined;
  readonly trust: boolean;
  /** Pages come when it runs. */
  readonly lazy?: boolean;
  readonly clock?: RestartRequest['clock'];
}

export type Order = CheckpointOrder | RestartOrder;

export interface ErrorData {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy?: string | undefined;
  readonly problems?: readonly Problem[] | undefined;
  readonly offset?: number | undefined;
}

export type Reply =
  | { readonly kind: 'progress'; readonly doneBytes: number; readonly totalBytes: number }
  /** A process with this pid is about to be made, as a child of the host program. */
  | { readonly kind: 'planned'; readonly pid: number }
  | { readonly kind: 'done'; readonly summary: unknown }
  | { readonly kind: 'failed'; readonly error: ErrorData };

export function describeError(error: unknown): ErrorData {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof QuicksaveError)) return { name: 'Error', code: 'internal', message };
  return {
    name: error.name,
    code: error.code,
    message,
    remedy: error.remedy,
    problems: error instanceof RefusedError ? error.problems : undefined,
    offset: error instanceof ImageError ? error.offset : undefined,
  };
}

export function rebuildError(data: ErrorData): QuicksaveError {
  if (data.problems !== undefined) return new RefusedError(data.message, data.problems);
  const options = data.remedy === undefined ? {} : { remedy: data.remedy };
  if (data.name !== 'ImageError') return new QuicksaveError(data.code, data.message, options);
  return new ImageError(
    data.code,
    data.message,
    data.offset === undefined ? options : { ...options, offset: data.offset },
  );
}

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
