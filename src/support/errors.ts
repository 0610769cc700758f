/**
 * Errors are data: a stable code, a sentence for a person, and what to do. They are printed once, in `cli/`.
 */
import { keepTrailOf } from './call-trail.ts';
import { ERROR_PAGES, type ErrorCode } from './error-pages/catalogue.ts';

/** One thing that stands in the way, found by a preflight or a plan. All of them are collected before failing. */
export interface Problem {
  /** Stable, kebab-case; documented in docs/errors.md. Never reused for another meaning. */
  readonly code: ErrorCode;
  /** Where, from the outside in: `['pid 123', 'fd 7', 'eventfd']`. */
  readonly path: readonly string[];
  /** One sentence: what it is and why it stands in the way. */
  readonly message: string;
  /** One sentence: what the user can do, if that is more than its code says: `withRemedy`. */
  readonly remedy?: string;
}

/** As it is shown: with what is generally done about such a problem, if nothing better is known. */
export const withRemedy = (problem: Problem): Problem & { readonly remedy: string } => ({
  ...problem,
  remedy: problem.remedy ?? ERROR_PAGES[problem.code].remedy,
});

/** Base of every error that quicksave throws on purpose. `message` is a sentence for a person. */
export class QuicksaveError extends Error {
  override readonly name: string = 'QuicksaveError';
  readonly code: ErrorCode;
  /** What to do about this one; about such errors in general where nothing better is known. */
  readonly remedy: string;
  constructor(code: ErrorCode, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy ?? ERROR_PAGES[code].remedy;
    keepTrailOf(this);
  }
}

/** The save or restart was refused before anything was harmed; `problems` lists every reason. */
export class RefusedError extends QuicksaveError {
  override readonly name: string = 'RefusedError';
  readonly problems: readonly (Problem & { readonly remedy: string })[];
  constructor(message: string, problems: readonly Problem[]) {
    super('refused', message);
    this.problems = problems.map(withRemedy);
  }
}

/** An image that is cut, changed, or not an image at all. `offset` is the byte in the stream where it was noticed. */
export class ImageError extends QuicksaveError {
  override readonly name: string = 'ImageError';
  readonly offset: number | undefined;
  constructor(code: ErrorCode, message: string, options: { offset?: number; cause?: unknown; remedy?: string } = {}) {
    super(code, message, options);
    this.offset = options.offset;
  }
}
