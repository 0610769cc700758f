/** Finding an image by its id: among the files of a folder, of which only HEAD is read. */
import { closeSync, readdirSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { QuicksaveError } from '../support/errors.ts';
import { RECORD_HEADER_SIZE } from './frame.ts';
import { decodeHead, HEAD_PREFIX_SIZE, MAX_HEAD_SIZE, startsWithMagic } from './head.ts';
import { incrementalImage } from './image-errors.ts';
import { type OpenedInput, openInput } from './image-source.ts';
import { ImageReader } from './reader.ts';

export interface FoundImage {
  readonly path: string;
  readonly opened: OpenedInput;
}

/** Gives the image with that id, or throws QuicksaveError that says where it was looked for. */
export type FindImage = (imageId: string) => FoundImage;

export const imagesIn =
  (folder: string): FindImage =>
  (imageId) => {
    const path = namesIn(folder)
      .map((name) => join(folder, name))
      .find((candidate) => tryImageId(candidate) === imageId);
    if (path !== undefined) return { path, opened: openInput(path) };
    throw new QuicksaveError('missing-parent', `The image builds on image ${imageId}, which is not in ${folder}.`, {
      remedy: 'Put that image there, or name the folder where it is: --images FOLDER.',
    });
  };

/** Where the parents of an image are looked for: in the folder that was named, else in its own. A stream has none. */
export function imagesBeside(source: string, folder: string | undefined): FindImage {
  if (folder !== undefined) return imagesIn(folder);
  return source === '-' ? nowhere : imagesIn(dirname(source));
}

const nowhere: FindImage = (imageId) => {
  throw incrementalImage(imageId);
};

function namesIn(folder: string): string[] {
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

/** Undefined for what is no image. */
function tryImageId(path: string): string | undefined {
  let fd: number | undefined;
  try {
    // A FIFO would be waited for without end.
    const opened = openInput(path, { waits: false });
    if (opened.sizeBytes === undefined) {
      opened.close();
      return undefined;
    }
    fd = opened.fd;
    return imageIdIn(fd);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function imageIdIn(fd: number): string | undefined {
  const start = Buffer.alloc(RECORD_HEADER_SIZE + HEAD_PREFIX_SIZE);
  readSync(fd, start, 0, start.length, 0);
  if (!startsWithMagic(start.subarray(RECORD_HEADER_SIZE))) return undefined;
  const bytes = Buffer.alloc(RECORD_HEADER_SIZE + MAX_HEAD_SIZE + 8);
  const length = readSync(fd, bytes, 0, bytes.length, 0);
  let at = 0;
  const reader = new ImageReader({
    read: (into) => {
      const part = bytes.subarray(at, Math.min(length, at + into.length));
      into.set(part);
      at += part.length;
      return part.length;
    },
  });
  const head = reader.next();
  return head?.kind === 'metadata' ? decodeHead(head.payload).state.imageId : undefined;
}
