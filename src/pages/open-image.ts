/** Reading an image of whatever format it is: ours, or a stream of 2008. */
import { readSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import { notLazy } from '../image/image-errors.ts';
import type { FindImage } from '../image/image-folder.ts';
import { behind, type OpenedInput, sourceOf } from '../image/image-source.ts';
import { requireSigner } from '../image/signature.ts';
import { CR_START_SIZE, isLinuxCr } from '../linux-cr/layout.ts';
import type { RestartSide } from '../linux-cr/to-image.ts';
import { type FileOptions, type ImageInput, readImageFile, readImageStream } from './image-input.ts';
import { keptInput, recorded } from './kept-stream.ts';
import { readLinuxCrInput } from './linux-cr-input.ts';
import type { PageCrew } from './page-crew.ts';

export interface ReadOptions extends FileOptions {
  /** Where the parents of an incremental image are. */
  readonly find?: FindImage | undefined;
  /** Asked only for a format that does not say all of a process. */
  readonly side?: () => RestartSide;
  /** The pages are going to be loaded: a stream in which memories have pages of each other is kept in memory for that. */
  readonly loads?: boolean;
}

export function readImage(
  opened: OpenedInput,
  crew: PageCrew,
  { find, side, unpacks, loads = false, unchecked }: ReadOptions = {},
): ImageInput {
  const { start, source } = lookAhead(opened);
  if (isLinuxCr(start)) {
    if (unchecked) throw notLazy('it is a stream of 2008, which is read whole');
    if (opened.signedBy !== undefined) requireSigner(undefined, opened.signedBy);
    return readLinuxCrInput(opened, source, side?.());
  }
  if (unchecked) {
    if (opened.sizeBytes === undefined)
      throw notLazy('from a pipe pages come in their order, not when they are touched');
    if (opened.encryption !== undefined) throw notLazy('it is encrypted');
    if (opened.signedBy !== undefined) throw notLazy('what is signed is the whole of it');
  }
  if (opened.sizeBytes !== undefined) return readImageFile(opened, crew, find, { unpacks, unchecked });
  return loads ? readToLoad(opened, source, crew, find) : readImageStream(opened, source, find);
}

function readToLoad(opened: OpenedInput, source: ByteSource, crew: PageCrew, find: FindImage | undefined): ImageInput {
  const record = recorded(source);
  const input = readImageStream(opened, record, find);
  if (input.model.processes.every(({ memory }) => memory.relatives.length === 0)) {
    record.forget();
    return input;
  }
  input.close();
  const kept = keptInput(opened, record.fromStart());
  try {
    // It is mapped, and needs no descriptor.
    return readImageFile(kept, crew, find, { isEncrypted: kept.isEncrypted });
  } finally {
    kept.close();
  }
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
  const read = start.subarray(0, length);
  return { start: read, source: behind(read, rest) };
}
