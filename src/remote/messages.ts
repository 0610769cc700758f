/**
 * What the command and its courier say to each other. The courier gets its order as one argument; the image goes through its standard
 * input or output; it answers in lines of JSON on {@link REPLY_FD}; on {@link WORD_FD} it hears {@link COMMIT}, or nothing.
 */
import type { ErrorData } from '../support/error-data.ts';

export const REPLY_FD = 3;
export const WORD_FD = 4;

/** The image is whole. If the courier's input ends without it, there is no image. */
export const COMMIT = 'c';

export interface CourierOrder {
  readonly direction: 'put' | 'get';
  readonly address: string;
}

export type CourierReply =
  /** The other end takes the image, or has it. */
  | { readonly kind: 'ready' }
  /** It is there under its name, whole and as safe as that end can make it; or all of it has been read. */
  | { readonly kind: 'done' }
  /** The input has ended without {@link COMMIT}: nothing of it is left. */
  | { readonly kind: 'abandoned' }
  | { readonly kind: 'failed'; readonly error: ErrorData };
