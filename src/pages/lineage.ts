/**
 * Where pages are that an image does not have itself for a memory: in another memory of it, or, of an incremental image, in its parent, which
 * may have them from elsewhere in turn. Each parent is found by its id, mapped, and the chunks that are needed of it are checked, before
 * anything is made of them.
 */

import { incrementalImage, notLazy } from '../image/image-errors.ts';
import type { FindImage } from '../image/image-folder.ts';
import { type ImageModel, parentMemory, relativesOf } from '../image/model.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import { distinctChunks, type LoadChunk } from './load-job.ts';
import { type MappedImage, mapImage } from './mapped-image.ts';
import type { PageCrew } from './page-crew.ts';
import { byObject, endOf, joinStretches, type Piece, part, piecesOf, type Stretch } from './page-pieces.ts';

/** What is looked at of a chunk of an image that has a parent. */
export type Inheriting = Pick<LoadChunk, 'objref' | 'runs'>;

export interface Lineage {
  /** Chunks of other memories and of parents, each with the pieces that are wanted of it, and the objref that they have in the youngest image. */
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
  /** What is taken of parents is not checked now. */
  readonly unchecked?: boolean;
}

/** Follows the parents of an image as far as pages are taken from them. Of pages that it takes from itself nothing is found out. */
export function followParents({ image, isEncrypted, find, crew }: LineageOptions): Lineage {
  return climb({ model: image.model, wanted: wantedOf(image.chunks), chunks: [], isEncrypted, find, crew });
}

/** The same of an image that is mapped, with the pages that its memories take from each other. */
export function followAll({
  image,
  isEncrypted,
  find,
  crew,
  unchecked = false,
}: LineageOptions & { image: { chunks: readonly LoadChunk[] } }): Lineage {
  const own = takeAll(image, relativesWantedOf(image), (at, objref) => {
    throw new Error(`the image was not checked: memory ${objref} has no page at 0x${at.toString(16)}`);
  });
  const wanted = [...wantedOf(image.chunks), ...own.rest];
  return climb({ model: image.model, wanted, chunks: own.chunks, isEncrypted, find, crew, unchecked });
}

interface Climb extends Omit<LineageOptions, 'image'> {
  readonly model: ImageModel;
  readonly wanted: readonly Wanted[];
  readonly chunks: readonly LoadChunk[];
}

function climb({ model, wanted: first, chunks: own, isEncrypted, find, crew, unchecked }: Climb): Lineage {
  const parents: Parent[] = [];
  const chunks = [...own];
  const seen = new Set([model.head.state.imageId]);
  const close = (): void => {
    for (const parent of parents.splice(0)) parent.image.close();
  };
  try {
    let child = model;
    let isChildEncrypted = isEncrypted;
    for (let wanted = first; wanted.length > 0; ) {
      const parent = openParent(child, { find, seen, crew, isChildEncrypted });
      parents.push(parent);
      if (unchecked && parent.isEncrypted) throw notLazy(`${parent.path}, which it builds on, is encrypted`);
      const there = wanted.map((one) => ({
        ...one,
        objref: memoryIn({ path: parent.path, model: parent.image.model }, child, one.objref),
      }));
      const found = takeAll(parent.image, there, (at) => {
        throw notThere(at, parent.path);
      });
      if (!unchecked) explained(parent.path, () => crew.verify(distinctChunks(found.chunks)));
      for (const chunk of found.chunks) chunks.push(chunk);
      wanted = found.rest;
      child = parent.image.model;
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

/** What a memory of the youngest image takes from another one. */
interface Wanted {
  readonly memory: number;
  /** That other one: in the image that is looked at, or, if it is the rest, in the image whose parent is next. */
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

function relativesWantedOf({ model, chunks }: { model: ImageModel; chunks: readonly Inheriting[] }): Wanted[] {
  const found: Wanted[] = [];
  for (const [objref, ofMemory] of byObject(chunks)) {
    relativesOf(model, objref).forEach((relative, index) => {
      const runs = ofMemory.flatMap((chunk) => chunk.runs).filter((run) => run.relative === index);
      if (runs.length > 0) found.push({ memory: objref, objref: relative, stretches: joinStretches(runs) });
    });
  }
  return found;
}

/** The memory that a memory of the child builds on: of the same process, whatever its number is. */
export function memoryIn(
  { model, path }: { readonly model: ImageModel; readonly path: string },
  child: ImageModel,
  objref: number,
): number {
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
  noteSeen(seen, parentId, imageId);
  if (find === undefined) throw incrementalImage(parentId);
  const { path, opened } = find(parentId);
  try {
    const isEncrypted = opened.encryption !== undefined;
    if (isChildEncrypted && !isEncrypted) throw plainParent(path);
    // Only what is needed of it is checked, when that is known.
    const image = explained(path, () => mapImage(opened, crew));
    if (image.model.head.state.imageId === parentId) return { image, path, isEncrypted };
    image.close();
    throw otherImage(path, parentId);
  } finally {
    opened.close();
  }
}

/** Throws ImageError for an image that is its own ancestor. `seen`: the ids of its descendants. */
export function noteSeen(seen: Set<string>, parentId: string, imageId: string): void {
  if (seen.has(parentId)) throw new ImageError('bad-record', `The image ${imageId} builds on itself.`);
  seen.add(parentId);
}

/** Exchanged since it was found. */
export const otherImage = (path: string, imageId: string): ImageError =>
  new ImageError('missing-parent', `${path} is not image ${imageId} any more.`);

/** Whoever can change that file would change what the encrypted image says. */
export const plainParent = (path: string): QuicksaveError =>
  new QuicksaveError('wrong-parent', `The image is encrypted, and ${path}, which it builds on, is not.`, {
    remedy: 'Encrypt that too: quicksave merge --encrypt makes a whole image of one.',
  });

interface Taken {
  readonly chunks: readonly LoadChunk[];
  /** What this image has from its own parent. */
  readonly rest: readonly Wanted[];
}

type Missing = (address: number, objref: number) => never;

/** What is wanted of one image. A memory may have it from another one, which comes before it: there is an end. */
function takeAll(
  { model, chunks: all }: { readonly model: ImageModel; readonly chunks: readonly LoadChunk[] },
  wanted: readonly Wanted[],
  missing: Missing,
): Taken {
  const byMemory = byObject(all);
  const known = new Map<number, OwnPiece[]>();
  const piecesOfMemory = (objref: number): OwnPiece[] => {
    const pieces = known.get(objref) ?? piecesByStart(byMemory.get(objref) ?? [], relativesOf(model, objref));
    known.set(objref, pieces);
    return pieces;
  };
  const chunks: LoadChunk[] = [];
  const rest: Wanted[] = [];
  const waiting = [...wanted];
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    const { memory, objref, stretches } = one;
    const found = takeFrom(piecesOfMemory(objref), stretches, (at) => missing(at, objref));
    for (const chunk of found.chunks) chunks.push({ ...chunk, objref: memory });
    for (const [from, more] of found.elsewhere) {
      if (from === PARENT) rest.push({ memory, objref, stretches: joinStretches(more) });
      else waiting.push({ memory, objref: from, stretches: joinStretches(more) });
    }
  }
  return { chunks, rest };
}

/** Goes through the pages of a memory and what is wanted of them side by side. */
function takeFrom(own: readonly OwnPiece[], wanted: readonly Stretch[], missing: (address: number) => never) {
  const taken = new Map<LoadChunk, Piece[]>();
  const elsewhere = new Map<number, Stretch[]>();
  let index = 0;
  for (const stretch of wanted) {
    const end = endOf(stretch);
    for (let at = stretch.start; at < end; ) {
      while (index < own.length && endOf(own[index] as OwnPiece) <= at) index++;
      const piece = own[index];
      if (piece === undefined || piece.start > at) return missing(at);
      const stop = Math.min(end, endOf(piece));
      const found = part(piece, at, stop);
      if (typeof piece.from === 'number') append(elsewhere, piece.from, found);
      else append(taken, piece.from, found);
      at = stop;
    }
  }
  return { chunks: [...taken].map(([chunk, pieces]) => ({ ...chunk, pieces })), elsewhere };
}

function append<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value): void {
  const known = lists.get(key);
  if (known === undefined) lists.set(key, [value]);
  else known.push(value);
}

/** No memory has this number. */
const PARENT = 0;

interface OwnPiece extends Piece {
  /** A chunk of its own; or the number of another memory of the image, or {@link PARENT}. */
  readonly from: LoadChunk | number;
}

function piecesByStart(chunks: readonly LoadChunk[], relatives: readonly number[]): OwnPiece[] {
  const pieces: OwnPiece[] = [];
  for (const chunk of chunks) {
    for (const piece of piecesOf(chunk.runs)) pieces.push({ ...piece, from: chunk });
    for (const { kind, start, pages, relative } of chunk.runs) {
      if (kind !== 'parent' && kind !== 'relative') continue;
      const from = relative === undefined ? PARENT : (relatives[relative] ?? PARENT);
      pieces.push({ start, pages, offset: undefined, from });
    }
  }
  return pieces.sort((a, b) => a.start - b.start);
}

const OTHER_COPIES = 'One of the two images has been changed: use other copies of them.';

export const notThere = (address: number, path: string): ImageError =>
  new ImageError(
    'wrong-parent',
    `The image takes the page at 0x${address.toString(16)} from ${path}, which has none there.`,
    {
      remedy: OTHER_COPIES,
    },
  );

/** What is wrong with a parent is said of its file. */
export function explained<T>(path: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof QuicksaveError)) throw error;
    const { code, remedy, message } = error;
    const Kind = error instanceof ImageError ? ImageError : QuicksaveError;
    throw new Kind(code, `In the parent image ${path}: ${message}`, { remedy });
  }
}
