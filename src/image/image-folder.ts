/** Finding an image by its id: among the files of a folder, of which only HEAD is read. */
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isAddress } from '../support/address.ts';
import { QuicksaveError } from '../support/errors.ts';
import { ByteStream } from './byte-stream.ts';
import { RECORD_HEADER_SIZE } from './frame.ts';
import { decodeHead, HEAD_PREFIX_SIZE, startsWithMagic } from './head.ts';
import { incrementalImage } from './image-errors.ts';
import { type OpenedInput, openInput, sourceOf } from './image-source.ts';
import type { Keyring } from './key-files.ts';
import type { ImageAccess } from './protection.ts';
import { ImageReader } from './reader.ts';

export interface FoundImage {
  readonly path: string;
  readonly opened: OpenedInput;
}

/** Gives the image with that id, or throws QuicksaveError that says where it was looked for. */
export type FindImage = (imageId: string) => FoundImage;

export const imagesIn =
  (folder: string, access?: ImageAccess): FindImage =>
  (imageId) => {
    const closed: string[] = [];
    const path = namesIn(folder)
      .map((name) => join(folder, name))
      .find((candidate) => tryImageId(candidate, access?.keys, closed) === imageId);
    if (path !== undefined) return { path, opened: openInput(path, { access }) };
    const locked = closed.length === 0 ? '' : ` (${closed.join(', ')} cannot be opened with the keys given)`;
    throw new QuicksaveError(
      'missing-parent',
      `The image builds on image ${imageId}, which is not in ${folder}${locked}.`,
      {
        remedy:
          closed.length === 0
            ? 'Put that image there, or name the folder where it is: --images FOLDER.'
            : 'Give its key too: --key KEYFILE, as often as there are keys.',
      },
    );
  };

/** Where the parents of an image are looked for: in the folder that was named, else in its own. A stream has none. */
export function imagesBeside(source: string, folder: string | undefined, access?: ImageAccess): FindImage {
  if (folder !== undefined) return imagesIn(folder, access);
  return source === '-' || isAddress(source) ? nowhere : imagesIn(dirname(source), access);
}

const nowhere: FindImage = (imageId) => {
  throw incrementalImage(imageId);
};

function namesIn(folder: string): string[] {
  if (isAddress(folder)) {
    throw new QuicksaveError('not-a-file', `Images cannot be looked for in ${folder}, which is on another host.`, {
      remedy: 'Copy them into a folder of this host first, and give that.',
    });
  }
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() || entry.isSymbolicLink())
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new QuicksaveError('cannot-read', `The folder ${folder} cannot be read: ${code}.`, { cause: error });
  }
}

/** Undefined for what is no image, or is encrypted for other keys: those are noted in `closed`. */
function tryImageId(path: string, keys: Keyring | undefined, closed: string[]): string | undefined {
  let opened: OpenedInput | undefined;
  try {
    // A FIFO would be waited for without end.
    opened = openInput(path, { waits: false, access: keys === undefined ? {} : { keys } });
    return opened.sizeBytes === undefined ? undefined : imageIdIn(opened);
  } catch (error) {
    if (error instanceof QuicksaveError && ['no-key', 'wrong-key'].includes(error.code)) closed.push(path);
    return undefined;
  } finally {
    opened?.close();
  }
}

function imageIdIn(opened: OpenedInput): string | undefined {
  const start = Buffer.alloc(RECORD_HEADER_SIZE + HEAD_PREFIX_SIZE);
  const stream = new ByteStream(sourceOf(opened));
  stream.tryFill(start);
  if (!startsWithMagic(start.subarray(RECORD_HEADER_SIZE))) return undefined;
  const head = new ImageReader(sourceOf(opened)).next();
  return head?.kind === 'metadata' ? decodeHead(head.payload).state.imageId : undefined;
}
