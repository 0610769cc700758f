/**
 * Incremental images: what an image takes from its parent, and that perhaps from its own. Each parent is found by its id, mapped, and
 * the chunks that are needed of it are checked, before anything is made of them.
 */

import { incrementalImage } from '../image/image-errors.ts';
import type { FindImage } from '../image/image-folder.ts';
import { type ImageModel, parentMemory } from '../image/model.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import type { LoadChunk } from './load-job.ts';
import { type MappedImage, mapImage } from './mapped-image.ts';
import type { PageCrew } from './page-crew.ts';
import { byObject, endOf, joinStretches, type Piece, part, piecesOf, type Stretch } from './page-pieces.ts';

/** What is looked at of a chunk of an image that has a parent. */
export type Inheriting = Pick<LoadChunk, 'objref' | 'runs'>;

export interface Lineage {
  /** Chunks of parents, each with the pieces that are wanted of it, and the objref that they have in the youngest image. */
  readonly chunks: readonly LoadChunk[];
  /** Files of the parents, the nearest first. */
  readonly paths: readonly string[];
  close(): void;
}

export interface LineageOptions {
  readonly image: { readonly model: ImageModel; readonly chunks: readonly Inheriting[] };
  /** Then its parents must be too. */
  readonly isEncrypted: boolean;
  /** Without it an image that takes pages from a parent is refused. */
  readonly find: FindImage | undefined;
  readonly crew: PageCrew;
}

/** Follows the parents of an image as far as pages are taken from them. */
export function followParents({ image, isEncrypted, find, crew }: LineageOptions): Lineage {
  const parents: Parent[] = [];
  const chunks: LoadChunk[] = [];
  const seen = new Set([image.model.head.state.imageId]);
  const close = (): void => {
    for (const parent of parents.splice(0)) parent.image.close();
  };
  try {
    let child: LineageOptions['image'] = image;
    let isChildEncrypted = isEncrypted;
    for (let wanted = wantedOf(image.chunks); wanted.length > 0; ) {
      const parent = openParent(child.model, { find, seen, crew, isChildEncrypted });
      parents.push(parent);
      const byMemory = byObject(parent.image.chunks);
      const rest: Wanted[] = [];
      for (const { memory, objref, stretches } of wanted) {
        const there = memoryIn(parent, child.model, objref);
        const found = takeFrom(byMemory.get(there) ?? [], stretches, parent.path);
        explained(parent.path, () => crew.verify(found.chunks));
        for (const chunk of found.chunks) chunks.push({ ...chunk, objref: memory });
        if (found.rest.length > 0) rest.push({ memory, objref: there, stretches: found.rest });
      }
      wanted = rest;
      child = parent.image;
      isChildEncrypted = parent.isEncrypted;
    }
    return { chunks, paths: parents.map(({ path }) => path), close };
  } catch (error) {
    close();
    throw error;
  }
}

interface Parent {
  readonly image: MappedImage;
  readonly path: string;
  readonly isEncrypted: boolean;
}

/** What a memory of the youngest image takes from a parent. */
interface Wanted {
  readonly memory: number;
  /** That memory in the image whose parent is next. */
  readonly objref: number;
  readonly stretches: readonly Stretch[];
}

function wantedOf(chunks: readonly Inheriting[]): Wanted[] {
  const found: Wanted[] = [];
  for (const [objref, ofMemory] of byObject(chunks)) {
    const runs = ofMemory.flatMap((chunk) => chunk.runs).filter(({ kind }) => kind === 'parent');
    if (runs.length > 0) found.push({ memory: objref, objref, stretches: joinStretches(runs) });
  }
  return found;
}

/** The memory that a memory of the child builds on: of the same process, whatever its number is. */
function memoryIn({ image: { model }, path }: Parent, child: ImageModel, objref: number): number {
  const there = parentMemory(child, objref);
  const pid = child.processes.find(({ task }) => task.memory === objref)?.task.pid;
  const process = model.processes.find(({ task }) => task.pid === pid);
  if (process !== undefined && process.task.memory === there) return there;
  throw new ImageError(
    'wrong-parent',
    `The image takes pages of process ${pid} from ${path}, which does not have them.`,
    {
      remedy: OTHER_COPIES,
    },
  );
}

interface Search {
  readonly find: FindImage | undefined;
  readonly seen: Set<string>;
  readonly crew: PageCrew;
  readonly isChildEncrypted: boolean;
}

function openParent(child: ImageModel, { find, seen, crew, isChildEncrypted }: Search): Parent {
  const { parentId = '', imageId } = child.head.state;
  if (seen.has(parentId)) throw new ImageError('bad-record', `The image ${imageId} builds on itself.`);
  seen.add(parentId);
  if (find === undefined) throw incrementalImage(parentId);
  const { path, opened } = find(parentId);
  try {
    const isEncrypted = opened.encryption !== undefined;
    if (isChildEncrypted && !isEncrypted) throw plainParent(path);
    // Only what is needed of it is checked, when that is known.
    const image = explained(path, () => mapImage(opened, crew));
    if (image.model.head.state.imageId === parentId) return { image, path, isEncrypted };
    image.close();
    throw new ImageError('missing-parent', `${path} is not image ${parentId} any more.`);
  } finally {
    opened.close();
  }
}

/** Whoever can change that file would change what the encrypted image says. */
export const plainParent = (path: string): QuicksaveError =>
  new QuicksaveError('wrong-parent', `The image is encrypted, and ${path}, which it builds on, is not.`, {
    remedy: 'Encrypt that too: quicksave merge --encrypt makes a whole image of one.',
  });

interface Taken {
  readonly chunks: readonly LoadChunk[];
  /** What this image has from its own parent. */
  readonly rest: Stretch[];
}

/** Goes through the pages of the parent and what is wanted of them side by side. */
function takeFrom(all: readonly LoadChunk[], wanted: readonly Stretch[], path: string): Taken {
  const own = piecesByStart(all);
  const taken = new Map<LoadChunk, Piece[]>();
  const rest: Stretch[] = [];
  let index = 0;
  for (const stretch of wanted) {
    const end = endOf(stretch);
    for (let at = stretch.start; at < end; ) {
      while (index < own.length && endOf(own[index] as OwnPiece) <= at) index++;
      const piece = own[index];
      if (piece === undefined || piece.start > at) throw notThere(at, path);
      const stop = Math.min(end, endOf(piece));
      const found = part(piece, at, stop);
      if (piece.chunk === undefined) rest.push(found);
      else taken.set(piece.chunk, [...(taken.get(piece.chunk) ?? []), found]);
      at = stop;
    }
  }
  return { chunks: [...taken].map(([chunk, pieces]) => ({ ...chunk, pieces })), rest: joinStretches(rest) };
}

interface OwnPiece extends Piece {
  /** Undefined: it is the parent's. */
  readonly chunk: LoadChunk | undefined;
}

function piecesByStart(chunks: readonly LoadChunk[]): OwnPiece[] {
  const pieces: OwnPiece[] = [];
  for (const chunk of chunks) {
    for (const piece of piecesOf(chunk.runs)) pieces.push({ ...piece, chunk });
    for (const { kind, start, pages } of chunk.runs) {
      if (kind === 'parent') pieces.push({ start, pages, offset: undefined, chunk: undefined });
    }
  }
  return pieces.sort((a, b) => a.start - b.start);
}

const OTHER_COPIES = 'One of the two images has been changed: use other copies of them.';

const notThere = (address: number, path: string): ImageError =>
  new ImageError(
    'wrong-parent',
    `The image takes the page at 0x${address.toString(16)} from ${path}, which has none there.`,
    {
      remedy: OTHER_COPIES,
    },
  );

/** What is wrong with a parent is said of its file. */
function explained<T>(path: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof QuicksaveError)) throw error;
    const { code, remedy, message } = error;
    const Kind = error instanceof ImageError ? ImageError : QuicksaveError;
    throw new Kind(code, `In the parent image ${path}: ${message}`, remedy === undefined ? {} : { remedy });
  }
}
