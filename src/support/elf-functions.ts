/**
 * The functions of an executable or a library by address: .symtab where there is one, else .dynsym. elf(5). Only headers and symbol
 * tables are read, and none of the file is trusted: every offset is checked, and what lies outside is no symbol.
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type ElfLayout, layoutOf } from './elf-extent.ts';

const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const PT_LOAD = 1;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
const SHN_UNDEF = 0;
const MAX_HEADERS_BYTES = 1024 * 1024;
const MAX_TABLE_BYTES = 256 * 1024 * 1024;
const MAX_NAME = 512;

interface Function {
  readonly address: number;
  readonly sizeBytes: number;
  /** In the table of names. */
  readonly name: number;
}

interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
}

/** Where the fields of headers and symbols are in files of 32 and of 64 bits. */
const fields64 = { link: 40, place: 24, length: 32, load: 16, symbol: 24, info: 4, section: 6, value: 8, size: 16 };
const fields32 = { link: 24, place: 16, length: 20, load: 8, symbol: 16, info: 12, section: 14, value: 4, size: 8 };

export class ElfFunctions {
  readonly #fd: number;
  readonly #segments: readonly Segment[];
  readonly #functions: readonly Function[];
  readonly #names: Buffer;

  private constructor(fd: number, segments: readonly Segment[], functions: readonly Function[], names: Buffer) {
    this.#fd = fd;
    this.#segments = segments;
    this.#functions = functions;
    this.#names = names;
  }

  /** Undefined if it cannot be read, or is no ELF file. */
  static tryOpen(path: string): ElfFunctions | undefined {
    let fd: number | undefined;
    try {
      // To open a device can have effects, to open a pipe can wait for ever.
      if (!statSync(path).isFile()) return undefined;
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      const found = ElfFunctions.#read(fd);
      if (found !== undefined) return found;
    } catch {
      // As good as not there.
    }
    if (fd !== undefined) closeSync(fd);
    return undefined;
  }

  static #read(fd: number): ElfFunctions | undefined {
    const head = readAt(fd, 0, 64);
    const layout = layoutOf(head);
    if (layout === undefined) return undefined;
    const { word, counts } = layout;
    const count = (index: number): number => head.readUInt16LE(counts + index * 2);
    const programHeaders = readAt(fd, word(head, layout.programHeaders), count(0) * count(1));
    const sections = readAt(fd, word(head, layout.sectionHeaders), count(2) * count(3));
    const segments = segmentsIn(programHeaders, count(0), layout);
    const { functions, names } = symbolsIn(fd, sections, count(2), layout);
    return new ElfFunctions(fd, segments, functions, names);
  }

  /** The address that the file is linked to have at this offset. */
  addressOf(fileOffset: number): number | undefined {
    const segment = this.#segments.find(
      ({ offset, fileBytes }) => offset <= fileOffset && fileOffset < offset + fileBytes,
    );
    return segment === undefined ? undefined : segment.address + fileOffset - segment.offset;
  }

  /** The function that this address is in, and how far. */
  at(address: number): { readonly name: string; readonly distance: number } | undefined {
    let [low, high] = [0, this.#functions.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#functions[middle]?.address ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const found = this.#functions[low - 1];
    if (found === undefined || address >= found.address + Math.max(found.sizeBytes, 1)) return undefined;
    const end = this.#names.indexOf(0, found.name);
    if (end < 0 || end - found.name > MAX_NAME) return undefined;
    return { name: this.#names.toString('latin1', found.name, end), distance: address - found.address };
  }

  /** Fewer bytes where the file ends. */
  read(offset: number, length: number): Buffer {
    return readAt(this.#fd, offset, length);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Never more than the file has. */
function readAt(fd: number, offset: number, length: number): Buffer {
  const there = Math.max(0, Math.min(length, fstatSync(fd).size - offset));
  const bytes = Buffer.alloc(there);
  let done = 0;
  while (done < there) {
    const read = readSync(fd, bytes, done, there - done, offset + done);
    if (read === 0) break;
    done += read;
  }
  return bytes.subarray(0, done);
}

function segmentsIn(headers: Buffer, entrySize: number, layout: ElfLayout): Segment[] {
  const found: Segment[] = [];
  const fields = layout.is64 ? fields64 : fields32;
  if (entrySize !== layout.programHeaderSize || headers.length > MAX_HEADERS_BYTES) return [];
  for (let at = 0; at + entrySize <= headers.length; at += entrySize) {
    if (headers.readUInt32LE(at) !== PT_LOAD) continue;
    found.push({
      offset: layout.word(headers, at + layout.segmentOffset),
      address: layout.word(headers, at + fields.load),
      fileBytes: layout.word(headers, at + layout.segmentFileSize),
    });
  }
  return found;
}

interface Symbols {
  readonly functions: readonly Function[];
  readonly names: Buffer;
}

function symbolsIn(fd: number, headers: Buffer, entrySize: number, { word, is64 }: ElfLayout): Symbols {
  const fields = is64 ? fields64 : fields32;
  const none = { functions: [], names: Buffer.alloc(0) };
  if (entrySize < fields.link + 4 || headers.length > MAX_HEADERS_BYTES) return none;
  const section = (index: number): Buffer => {
    const at = index * entrySize;
    if (at + entrySize > headers.length) return Buffer.alloc(0);
    const length = word(headers, at + fields.length);
    return length > MAX_TABLE_BYTES ? Buffer.alloc(0) : readAt(fd, word(headers, at + fields.place), length);
  };
  const indices = Array.from({ length: Math.floor(headers.length / entrySize) }, (_, index) => index);
  const ofType = (type: number): number | undefined =>
    indices.find((index) => headers.readUInt32LE(index * entrySize + 4) === type);
  const table = ofType(SHT_SYMTAB) ?? ofType(SHT_DYNSYM);
  if (table === undefined) return none;
  const names = section(headers.readUInt32LE(table * entrySize + fields.link));
  const symbols = section(table);
  const functions: Function[] = [];
  for (let at = 0; at + fields.symbol <= symbols.length; at += fields.symbol) {
    const type = (symbols[at + fields.info] ?? 0) & 0xf;
    if (type !== STT_FUNC && type !== STT_GNU_IFUNC) continue;
    if (symbols.readUInt16LE(at + fields.section) === SHN_UNDEF) continue;
    functions.push({
      address: word(symbols, at + fields.value),
      sizeBytes: word(symbols, at + fields.size),
      name: symbols.readUInt32LE(at),
    });
  }
  functions.sort((a, b) => a.address - b.address);
  return { functions, names };
}
