/**
 * Reads a whole image and checks all that can be checked without a process: every record and its checksum, the references
 * between them, every page, every state against its schema, the registers. What depends on the host is not looked at.
 */

import { imagesBeside } from '../image/image-folder.ts';
import type { ImageModel } from '../image/model.ts';
import type { Signature } from '../image/signature.ts';
import type { ImageInput } from '../pages/image-input.ts';
import { readImage } from '../pages/open-image.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { openInput } from '../remote/open-input.ts';
import { isAddress } from '../support/address.ts';
import type { ImagesOptions } from './diff.ts';
import { checkStates } from './state-check.ts';

export interface Verification {
  readonly model: ImageModel;
  readonly isEncrypted: boolean;
  /** Undefined: it is not signed. With `signedBy` in the access it has been checked. */
  readonly signature?: Signature | undefined;
  readonly imageBytes: number;
  readonly records: number;
  readonly dataPages: number;
  readonly zeroPages: number;
  /** Pages that are in its parents. Those of a file are looked up and checked too. */
  readonly parentPages: number;
  /** Pages of a memory that are those of another one. */
  readonly relativePages: number;
}

const isStream = (source: string): boolean => source === '-' || isAddress(source);

/** `source` is a file's name, an address, or `-` for standard input. The parents of a stream are looked at only if `images` is given. Throws ImageError for what is wrong first. */
export function verifyImageAt(source: string, { images, access }: ImagesOptions = {}): Verification {
  const opened = openInput(source, { access });
  const crew = new PageCrew(opened.sizeBytes ?? 0, () => {
    // It is over before anybody would want to see how far it is.
  });
  let input: ImageInput | undefined;
  try {
    input = readImage(opened, crew, {
      find: isStream(source) && images === undefined ? undefined : imagesBeside(source, images, access),
      unpacks: true,
    });
    const counts = input.checkPages();
    checkStates(input.model);
    return { model: input.model, isEncrypted: opened.encryption !== undefined, ...counts };
  } finally {
    input?.close();
    opened.close();
    crew.dismiss();
  }
}
