/**
 * What can be wrong with an image, one function for each code, so that the same fault reads the same wherever it is found.
 */
import { ImageError, QuicksaveError } from '../support/errors.ts';

const SAVE_AGAIN = 'Save the program again, or use another copy of the image.';

/** The stream ends where more bytes must follow. */
export const cutImage = (offset: number): ImageError =>
  new ImageError(
    'cut-image',
    `The image ends in the middle of a record at byte ${offset}; it was cut or is still being written.`,
    { offset, remedy: SAVE_AGAIN },
  );

/** The stream ends between two records, but before TAIL. */
export const imageWithoutTail = (offset: number): ImageError =>
  new ImageError(
    'cut-image',
    `The image ends at byte ${offset} without its TAIL record; it was cut or is still being written.`,
    { offset, remedy: SAVE_AGAIN },
  );

/** Bytes are not the ones that were written. `what` is a clause without its final stop. */
export const damagedImage = (what: string, offset: number): ImageError =>
  new ImageError('damaged-image', `The image is damaged: ${what}.`, { offset, remedy: SAVE_AGAIN });

/** A record that no writer of ours makes. `label` is made by `recordLabel`, `what` follows it as its predicate. */
export const badRecord = (label: string, what: string, offset?: number): ImageError =>
  new ImageError('bad-record', `${label}: ${what}.`, offset === undefined ? {} : { offset });

export const notAnImage = (what: string): ImageError =>
  new ImageError('not-an-image', `This is not a quicksave image: ${what}.`, { offset: 0 });

/** `why`: a clause. */
export const notLazy = (why: string): QuicksaveError =>
  new QuicksaveError('not-lazy', `The pages of the image cannot come later: ${why}.`);

/** What it lacks was not found, or not looked for. */
export const incrementalImage = (parentId: string): QuicksaveError =>
  new QuicksaveError('incremental-image', `The image has only what changed since image ${parentId}.`, {
    remedy: 'Say where that is: --images FOLDER.',
  });

/** A mistake of the calling code, not of an image: nothing that a user could mend. */
export const misuse = (what: string): QuicksaveError =>
  new QuicksaveError('internal', `quicksave used its image module wrongly: ${what}.`);
