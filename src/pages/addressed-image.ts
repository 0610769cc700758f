/** An image whose pages can be asked for by address. What comes through a pipe, or is encrypted, is kept in memory. */
import { type OpenedInput, sourceOf } from '../image/image-source.ts';
import { type ImageModel, ModelBuilder, relativesOf } from '../image/model.ts';
import { type ChunkRecord, ImageReader } from '../image/reader.ts';
import type { Timeline } from '../image/timeline.ts';
import { newMemoryFile } from '../kernel/calls/descriptors.ts';
import { isLinuxCr } from '../linux-cr/layout.ts';
import { QuicksaveError } from '../support/errors.ts';
import { keepStream } from './kept-stream.ts';
import { lookAhead } from './open-image.ts';
import { PageStore } from './page-store.ts';

export interface AddressedImage {
  readonly model: ImageModel;
  /** Pages of a memory, by address; of an object with content, by offset. */
  readonly pages: (object: number) => PageStore;
  readonly chunks: readonly ChunkRecord[];
  readonly imageBytes: number;
  readonly records: number;
  readonly timeline: Timeline | undefined;
  close(): void;
}

const FOREIGN = 'This is a stream of 2008 (linux-cr-v8), not an image of quicksave.';
const FOREIGN_REMEDY = 'It can be restarted, verified and inspected as a whole.';

/** Throws ImageError for what is no image of ours, or a damaged one. Page data is checked when it is read. */
export function openAddressed(opened: OpenedInput): AddressedImage {
  const { start, source } = lookAhead(opened);
  if (isLinuxCr(start)) throw new QuicksaveError('foreign-image', FOREIGN, { remedy: FOREIGN_REMEDY });
  // The pages of an encrypted one are not where they could be read by position.
  if (opened.sizeBytes !== undefined && opened.encryption === undefined)
    return { ...readAll(opened.fd, new ImageReader(source, { pageData: 'skip' })), close: () => {} };
  const file = newMemoryFile('quicksave');
  try {
    const copied = keepStream(file, source);
    const reader = new ImageReader(sourceOf({ fd: file.number, sizeBytes: copied }), { pageData: 'skip' });
    return { ...readAll(file.number, reader), close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readAll(fd: number, reader: ImageReader): Omit<AddressedImage, 'close'> {
  const builder = new ModelBuilder();
  const chunks: ChunkRecord[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'metadata') builder.add(record);
    else {
      builder.addChunk(record);
      chunks.push(record);
    }
  }
  const model = builder.finish();
  const { parentId } = model.head.state;
  if (parentId !== undefined) {
    throw new QuicksaveError('incremental-image', `The image has only what changed since image ${parentId}.`, {
      remedy: 'Make a whole one of it first: quicksave merge.',
    });
  }
  builder.finishPages();
  const stores = new Map<number, PageStore>();
  const pages = (object: number): PageStore => {
    const known = stores.get(object);
    if (known !== undefined) return known;
    const own = chunks.filter(({ objref }) => objref === object);
    // They come before it, so that this has an end.
    const store = new PageStore(fd, own, relativesOf(model, object).map(pages));
    stores.set(object, store);
    return store;
  };
  return {
    model,
    chunks,
    imageBytes: reader.position,
    records: reader.recordCount + 1,
    timeline: reader.timeline,
    pages,
  };
}
