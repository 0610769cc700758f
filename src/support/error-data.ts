/** Errors as data, between processes of ours: they travel in lines of JSON and become themselves again. */
import type { ErrorCode } from './error-pages/catalogue.ts';
import { ImageError, type Problem, QuicksaveError, RefusedError } from './errors.ts';

export interface ErrorData {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy?: string | undefined;
  readonly problems?: readonly Problem[] | undefined;
  readonly offset?: number | undefined;
}

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
