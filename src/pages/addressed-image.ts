/**
 * An image whose pages can be asked for by address, an incremental one with those that it has from its parents. What comes through a pipe, or
 * is encrypted, is kept in memory.
 */

import { incrementalImage, misuse } from '../image/image-errors.ts';
import type { FindImage } from '../image/image-folder.ts';
import { type OpenedInput, sourceOf } from '../image/image-source.ts';
import { type Cut, type LookThroughOptions, lookThrough } from '../image/look-through.ts';
import { type ImageModel, relativesOf } from '../image/model.ts';
import { type ChunkRecord, ImageReader } from '../image/reader.ts';
import type { Timeline } from '../image/timeline.ts';
import { newMemoryFile } from '../kernel/calls/descriptors.ts';
import { isLinuxCr } from '../linux-cr/layout.ts';
import { QuicksaveError } from '../support/errors.ts';
import { keepStream } from './kept-stream.ts';
import { explained, memoryIn, noteSeen, notThere, otherImage, plainParent } from './lineage.ts';
import { lookAhead } from './open-image.ts';
import { PageStore, type ParentStore } from './page-store.ts';

export interface AddressedImage {
  readonly model: ImageModel;
  /** Only if its end is missing: {@link AddressedImage.model} has what is there, and at least one process in part. */
  readonly cut?: Cut;
  /** Pages of a memory, by address; of an object with content, by offset. */
  readonly pages: (object: number) => PageStore;
  /** Its own, not those of parents. */
  readonly chunks: readonly ChunkRecord[];
  readonly imageBytes: number;
  readonly records: number;
  readonly timeline: Timeline | undefined;
  close(): void;
}

const FOREIGN = 'This is a stream of 2008 (linux-cr-v8), not an image of quicksave.';
const FOREIGN_REMEDY = 'It can be restarted, verified and inspected as a whole.';

/**
 * Throws ImageError for what is no image of ours, or a damaged one, and `incremental-image` or `missing-parent` for one whose parents are not
 * to be had. Page data is checked when it is read.
 */
export const openAddressed = (
  opened: OpenedInput,
  find?: FindImage,
  options: LookThroughOptions = {},
): AddressedImage => openGeneration(opened, find, new Set(), options);

/** `seen`: the ids of the images that build on it. */
function openGeneration(
  opened: OpenedInput,
  find: FindImage | undefined,
  seen: Set<string>,
  options: LookThroughOptions = {},
): AddressedImage {
  const { start, source } = lookAhead(opened);
  if (isLinuxCr(start)) throw new QuicksaveError('foreign-image', FOREIGN, { remedy: FOREIGN_REMEDY });
  const closing: (() => void)[] = [];
  const close = (): void => {
    for (const one of closing.splice(0).reverse()) one();
  };
  try {
    let { fd, sizeBytes } = opened;
    // The pages of an encrypted one are not where they could be read by position.
    if (sizeBytes === undefined || opened.encryption !== undefined) {
      const file = newMemoryFile('quicksave');
      closing.push(() => file.close());
      fd = file.number;
      sizeBytes = keepStream(file, source, options);
    }
    const own = readRecords(new ImageReader(sourceOf({ fd, sizeBytes }), { pageData: 'skip' }), options);
    const parent = openParent(own.model, opened.encryption !== undefined, find, seen);
    if (parent !== undefined) closing.push(parent.close);
    return { ...own, pages: storesOf(fd, own, parent), close };
  } catch (error) {
    close();
    throw error;
  }
}

type Records = Omit<AddressedImage, 'pages' | 'close'>;

function readRecords(reader: ImageReader, options: LookThroughOptions): Records {
  const chunks: ChunkRecord[] = [];
  const { model, cut, ...counts } = lookThrough(reader, (chunk) => chunks.push(chunk), options);
  const { root } = model;
  if (root === undefined) throw cut?.error ?? misuse('an image without a process was read');
  return { model: { ...model, root }, chunks, ...counts, ...(cut === undefined ? {} : { cut }) };
}

interface Parent {
  readonly path: string;
  readonly image: AddressedImage;
  readonly close: () => void;
}

/** Undefined for an image that is whole. */
function openParent(
  child: ImageModel,
  isChildEncrypted: boolean,
  find: FindImage | undefined,
  seen: Set<string>,
): Parent | undefined {
  const { parentId, imageId } = child.head.state;
  if (parentId === undefined) return undefined;
  seen.add(imageId);
  noteSeen(seen, parentId, imageId);
  if (find === undefined) throw incrementalImage(parentId);
  const { path, opened } = find(parentId);
  let image: AddressedImage | undefined;
  const close = (): void => {
    image?.close();
    opened.close();
  };
  try {
    if (isChildEncrypted && opened.encryption === undefined) throw plainParent(path);
    image = explained(path, () => openGeneration(opened, find, seen));
    if (image.model.head.state.imageId !== parentId) throw otherImage(path, parentId);
    return { path, image, close };
  } catch (error) {
    close();
    throw error;
  }
}

function storesOf(fd: number, { model, chunks }: Records, parent: Parent | undefined): AddressedImage['pages'] {
  const stores = new Map<number, PageStore>();
  const pages = (object: number): PageStore => {
    const known = stores.get(object);
    if (known !== undefined) return known;
    const own = chunks.filter(({ objref }) => objref === object);
    // They come before it, so that this has an end.
    const store = new PageStore(fd, own, relativesOf(model, object).map(pages), parentStore(parent, model, object));
    stores.set(object, store);
    return store;
  };
  return pages;
}

/** Looked for only if a page of it is wanted: memories of processes that are new have none. */
function parentStore(parent: Parent | undefined, child: ImageModel, object: number): ParentStore | undefined {
  if (parent === undefined) return undefined;
  const { path, image } = parent;
  let found: PageStore | undefined;
  return (address) => {
    found ??= image.pages(memoryIn({ path, model: image.model }, child, object));
    if (!found.has(address)) throw notThere(address, path);
    return found;
  };
}
