/** The bytes of objects that are nowhere but in the target: files without a name. Zero pages are left out. */
import { fstatSync } from 'node:fs';
import type { PageRun } from '../image/page-chunk.ts';
import type { ImageWriter } from '../image/writer.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { newMemoryFile, openFile, setFileSize } from '../kernel/calls/descriptors.ts';
import { nextData, readAt, writeAll } from '../kernel/calls/file-io.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { ObjectContent } from './collect-files.ts';
import type { ImageStream } from './write-image.ts';

const PAGE = 4096;
const PIECE = 256 * PAGE;

/** More than this is not copied while the target stands still. */
const HELD_BYTES = 64 * 1024 * 1024;

/** Copies in memory, which the target cannot change any more; the originals are closed. Undefined, and nothing done, if they are large. */
export function heldContents(contents: readonly ObjectContent[]): readonly ObjectContent[] | undefined {
  if (areLarge(contents)) return undefined;
  return contents.map((content) => {
    const { own, sizeBytes } = content;
    const copy = newMemoryFile('quicksave content');
    setFileSize(copy.number, sizeBytes);
    forEachPiece(own, sizeBytes, (piece, start, length) => {
      writeAll(copy.number, start, [{ address: piece.address, sizeBytes: length }]);
    });
    own.close();
    return { ...content, own: copy };
  });
}

/** They are not copied while the target stands still. */
export const areLarge = (contents: readonly ObjectContent[]): boolean =>
  contents.reduce((sum, { own }) => sum + dataBytes(own), 0) > HELD_BYTES;

/** Without holes. */
const dataBytes = (own: OwnedFd): number => fstatSync(own.number).blocks * 512;

export function writeContent(
  stream: ImageStream,
  { objref, own, sizeBytes }: ObjectContent,
  level: number | undefined,
): void {
  forEachPiece(own, sizeBytes, ({ bytes }, start, length) => {
    bytes.fill(0, length);
    writePiece(stream.writer, objref, start, bytes.subarray(0, Math.ceil(length / PAGE) * PAGE), level);
    stream.flush();
  });
}

function forEachPiece(
  own: OwnedFd,
  sizeBytes: number,
  use: (piece: NativeMemory, start: number, length: number) => void,
): void {
  const piece = NativeMemory.allocate(PIECE);
  // The program may have it open for writing only.
  const file = openFile(`/proc/self/fd/${own.number}`, OPEN.O_RDONLY);
  try {
    for (let start = nextData(file.number, 0); start !== undefined && start < sizeBytes; ) {
      const length = Math.min(PIECE, sizeBytes - start);
      readAt(file.number, piece.address, length, start, 'read a file without a name');
      use(piece, start, length);
      start = nextData(file.number, start + length);
    }
  } finally {
    file.close();
    piece.free();
  }
}

function writePiece(
  writer: ImageWriter,
  objref: number,
  start: number,
  bytes: Buffer,
  level: number | undefined,
): void {
  const runs: { start: number; pages: number; kind: PageRun['kind'] }[] = [];
  const data: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; offset += PAGE) {
    const page = bytes.subarray(offset, offset + PAGE);
    if (page.equals(zeroPage)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.pages * PAGE === start + offset) last.pages++;
    else runs.push({ start: start + offset, pages: 1, kind: 'data' });
    data.push(page);
  }
  if (runs.length > 0) writer.chunk(objref, runs, Buffer.concat(data), { level });
}

const zeroPage = Buffer.alloc(PAGE);
