/**
 * The GNU build id of an ELF file: the fingerprint by which a restart knows that an executable or a library is still
 * the one that was mapped. elf(5); the note is NT_GNU_BUILD_ID of the owner "GNU".
 *
 * The file is not trusted: at most some KB of it are read, every length is checked, and garbage has no build id.
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { refuseLack } from './lacking.ts';

export interface ElfIdentity {
  /** False also for what cannot be read and for what is no regular file. */
  readonly isElf: boolean;
  /** In hexadecimal. Undefined also for an ELF file linked without one. */
  readonly buildId: string | undefined;
}

interface Elf {
  readonly fd: number;
  readonly is64: boolean;
  readonly littleEndian: boolean;
}

interface Segment {
  readonly offset: number;
  readonly size: number;
  readonly alignment: number;
}

const MAX_PROGRAM_HEADERS = 512;
/**
 * Linkers write one or two note segments. A core file has a long one, whose first part is enough: it has no build id.
 */
const MAX_NOTE_SEGMENTS = 8;
const MAX_NOTE_BYTES = 8192;
/** SHA-1 has 20 bytes, --build-id=0x… has any number. */
const MAX_BUILD_ID_BYTES = 64;
const PT_NOTE = 4;
const NT_GNU_BUILD_ID = 3;
const NOT_ELF: ElfIdentity = { isElf: false, buildId: undefined };

export const readBuildId = (file: string | number): string | undefined => readElfIdentity(file).buildId;

/** `file` is a path or an open descriptor, whose position stays where it is. Throws only `no-room`: then nobody knows. */
export const readElfIdentity = (file: string | number): ElfIdentity =>
  unlessThrown(() => (typeof file === 'number' ? identify(file) : identifyPath(file))) ?? NOT_ELF;

function unlessThrown<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    refuseLack(error, 'a file that is mapped');
    return undefined;
  }
}

function identifyPath(path: string): ElfIdentity {
  // To open a device can have effects (a tape rewinds), to open a pipe can wait for ever.
  if (!statSync(path).isFile()) return NOT_ELF;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    return identify(fd);
  } finally {
    closeSync(fd);
  }
}

function identify(fd: number): ElfIdentity {
  if (!fstatSync(fd).isFile()) return NOT_ELF;
  const ident = readAt(fd, 0, 16);
  const [elfClass, data] = [ident.at(4), ident.at(5)];
  const isMagic = ident.length === 16 && ident.toString('latin1', 0, 4) === '\x7fELF';
  if (!isMagic || (elfClass !== 1 && elfClass !== 2) || (data !== 1 && data !== 2)) return NOT_ELF;
  const elf: Elf = { fd, is64: elfClass === 2, littleEndian: data === 1 };
  return { isElf: true, buildId: unlessThrown(() => findBuildId(elf)) };
}

function findBuildId(elf: Elf): string | undefined {
  for (const segment of noteSegments(elf).slice(0, MAX_NOTE_SEGMENTS)) {
    const notes = readAt(elf.fd, segment.offset, Math.min(segment.size, MAX_NOTE_BYTES));
    const buildId = findBuildIdNote(notes, segment.alignment, elf.littleEndian);
    if (buildId !== undefined) return buildId;
  }
  return undefined;
}

function noteSegments(elf: Elf): Segment[] {
  const { is64, littleEndian } = elf;
  const header = viewAt(elf.fd, 0, is64 ? 64 : 52);
  const tableOffset = is64 ? offset64(header, 32, littleEndian) : header.getUint32(28, littleEndian);
  const entrySize = header.getUint16(is64 ? 54 : 42, littleEndian);
  const count = header.getUint16(is64 ? 56 : 44, littleEndian);
  if (entrySize !== (is64 ? 56 : 32) || count > MAX_PROGRAM_HEADERS) return [];
  const table = viewAt(elf.fd, tableOffset, entrySize * count);
  return Array.from({ length: count }, (_, index) => index * entrySize)
    .filter((at) => table.getUint32(at, littleEndian) === PT_NOTE)
    .map((at) => (is64 ? segment64(table, at, littleEndian) : segment32(table, at, littleEndian)));
}

const segment64 = (table: DataView, at: number, littleEndian: boolean): Segment => ({
  offset: offset64(table, at + 8, littleEndian),
  size: offset64(table, at + 32, littleEndian),
  alignment: offset64(table, at + 48, littleEndian),
});

const segment32 = (table: DataView, at: number, littleEndian: boolean): Segment => ({
  offset: table.getUint32(at + 4, littleEndian),
  size: table.getUint32(at + 16, littleEndian),
  alignment: table.getUint32(at + 28, littleEndian),
});

/** No file reaches 2^53 bytes: what is larger is garbage, which `readAt` refuses. */
const offset64 = (view: DataView, at: number, littleEndian: boolean): number =>
  Number(view.getBigUint64(at, littleEndian));

/**
 * A note is: name size, descriptor size, type, name, descriptor; both padded to 4 bytes, or to 8 in a segment aligned
 * so.
 */
function findBuildIdNote(notes: Buffer, segmentAlignment: number, littleEndian: boolean): string | undefined {
  const alignment = segmentAlignment === 8 ? 8 : 4;
  const pad = (size: number): number => Math.ceil(size / alignment) * alignment;
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameSize = view.getUint32(at, littleEndian);
    const size = view.getUint32(at + 4, littleEndian);
    const start = pad(at + 12 + nameSize);
    if (start + size > notes.length) return undefined;
    const isGnu = nameSize === 4 && notes.toString('latin1', at + 12, at + 16) === 'GNU\0';
    if (isGnu && view.getUint32(at + 8, littleEndian) === NT_GNU_BUILD_ID && size > 0 && size <= MAX_BUILD_ID_BYTES) {
      return notes.toString('hex', start, start + size);
    }
    at = pad(start + size);
  }
  return undefined;
}

/** Up to `length` bytes; fewer at the end of the file. */
function readAt(fd: number, offset: number, length: number): Buffer {
  if (!Number.isSafeInteger(offset)) return Buffer.alloc(0);
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(fd, buffer, filled, length - filled, offset + filled);
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}

/**
 * As `readAt`; what the file does not have is a RangeError of the DataView later, and then the file has no build id.
 */
function viewAt(fd: number, offset: number, length: number): DataView {
  const bytes = readAt(fd, offset, length);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
