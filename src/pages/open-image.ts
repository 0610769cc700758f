/** Reading an image of whatever format it is: ours, or a stream of 2008. */
import { readSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import type { FindImage } from '../image/image-folder.ts';
import { type OpenedInput, sourceOf } from '../image/image-source.ts';
import { CR_START_SIZE, isLinuxCr } from '../linux-cr/layout.ts';
import type { RestartSide } from '../linux-cr/to-image.ts';
import { type ImageInput, readImageFile, readImageStream } from './image-input.ts';
import { readLinuxCrInput } from './linux-cr-input.ts';
import type { PageCrew } from './page-crew.ts';

export interface ReadOptions {
  /** Where the parents of an incremental image are. */
  readonly find?: FindImage | undefined;
  /** Asked only for a format that does not say all of a process. */
  readonly side?: () => RestartSide;
}

export function readImage(opened: OpenedInput, crew: PageCrew, { find, side }: ReadOptions = {}): ImageInput {
  const { start, source } = lookAhead(opened);
  if (isLinuxCr(start)) return readLinuxCrInput(opened, source, side?.());
  if (opened.sizeBytes === undefined) return readImageStream(source, find);
  return readImageFile(opened.fd, opened.sizeBytes, crew, find);
}

export interface LookedAhead {
  /** The first bytes, as many as there are up to what tells a format. */
  readonly start: Uint8Array;
  /** All bytes, those included. */
  readonly source: ByteSource;
}

export function lookAhead(opened: OpenedInput): LookedAhead {
  const start = new Uint8Array(CR_START_SIZE);
  if (opened.sizeBytes !== undefined) {
    const length = readSync(opened.fd, start, 0, start.length, 0);
    return { start: start.subarray(0, length), source: sourceOf(opened) };
  }
  const rest = sourceOf(opened);
  let length = 0;
  for (let read = -1; read !== 0 && length < start.length; length += read) read = rest.read(start.subarray(length));
  let given = 0;
  const source = {
    read: (into: Uint8Array): number => {
      if (given === length) return rest.read(into);
      const part = start.subarray(given, Math.min(length, given + into.length));
      into.set(part);
      given += part.length;
      return part.length;
    },
  };
  return { start: start.subarray(0, length), source };
}
