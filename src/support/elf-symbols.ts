/**
 * The functions that a shared object of 32 or 64 bits offers: elf(5), the section .dynsym. For a vDSO, which is one piece: file
 * offset and place in memory are the same but for the address that it was linked to.
 *
 * The bytes may come from an image and are not trusted: every offset is checked, and what lies outside is no symbol.
 */
import { layoutOf } from './elf-extent.ts';

export interface ElfFunction {
  readonly name: string;
  /** From the first byte of the object. */
  readonly offset: number;
  readonly sizeBytes: number;
}

interface SymbolLayout {
  readonly sectionSize: number;
  readonly sectionLink: number;
  readonly sectionPlace: number;
  readonly sectionLength: number;
  readonly segmentAddress: number;
  readonly symbolSize: number;
  readonly info: number;
  readonly section: number;
  readonly value: number;
  readonly length: number;
}

const symbols64: SymbolLayout = {
  sectionSize: 64,
  sectionLink: 40,
  sectionPlace: 24,
  sectionLength: 32,
  segmentAddress: 16,
  symbolSize: 24,
  info: 4,
  section: 6,
  value: 8,
  length: 16,
};

const symbols32: SymbolLayout = {
  sectionSize: 40,
  sectionLink: 24,
  sectionPlace: 16,
  sectionLength: 20,
  segmentAddress: 8,
  symbolSize: 16,
  info: 12,
  section: 14,
  value: 4,
  length: 8,
};

const PT_LOAD = 1;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const SHN_UNDEF = 0;
const MAX_SYMBOLS = 1024;
const MAX_NAME = 128;

/** Undefined if it is no ELF image, or has no table of symbols that lies in it. */
export function dynamicFunctions(image: Buffer): ElfFunction[] | undefined {
  const layout = layoutOf(image);
  if (layout === undefined) return undefined;
  const { word, sectionHeaders, counts, is64 } = layout;
  const fields = is64 ? symbols64 : symbols32;
  const headers = word(image, sectionHeaders);
  const sectionCount = image.readUInt16LE(counts + 6);
  if (image.readUInt16LE(counts + 4) !== fields.sectionSize) return undefined;
  if (headers + sectionCount * fields.sectionSize > image.length) return undefined;
  const section = (index: number): Buffer | undefined => {
    if (index >= sectionCount) return undefined;
    const at = headers + index * fields.sectionSize;
    const start = word(image, at + fields.sectionPlace);
    const end = start + word(image, at + fields.sectionLength);
    return end <= image.length ? image.subarray(start, end) : undefined;
  };
  for (let index = 0; index < sectionCount; index++) {
    const at = headers + index * fields.sectionSize;
    if (image.readUInt32LE(at + 4) !== SHT_DYNSYM) continue;
    const table = section(index);
    const names = section(image.readUInt32LE(at + fields.sectionLink));
    if (table === undefined || names === undefined) return undefined;
    return functionsIn(image, table, names, fields, word, linkedAt(image, layout, fields));
  }
  return undefined;
}

/** The address of the first byte, by which the values of symbols are counted: not 0 before Linux 3.16. */
function linkedAt(image: Buffer, layout: NonNullable<ReturnType<typeof layoutOf>>, fields: SymbolLayout): number {
  const { word, programHeaders, counts, programHeaderSize, segmentOffset } = layout;
  for (let index = 0; index < image.readUInt16LE(counts + 2); index++) {
    const at = word(image, programHeaders) + index * image.readUInt16LE(counts);
    if (at + programHeaderSize > image.length) break;
    if (image.readUInt32LE(at) !== PT_LOAD) continue;
    return word(image, at + fields.segmentAddress) - word(image, at + segmentOffset);
  }
  return 0;
}

function functionsIn(
  image: Buffer,
  table: Buffer,
  names: Buffer,
  fields: SymbolLayout,
  word: (bytes: Buffer, offset: number) => number,
  base: number,
): ElfFunction[] {
  const found: ElfFunction[] = [];
  const count = Math.min(MAX_SYMBOLS, Math.floor(table.length / fields.symbolSize));
  for (let index = 0; index < count; index++) {
    const symbol = table.subarray(index * fields.symbolSize, (index + 1) * fields.symbolSize);
    if (((symbol[fields.info] ?? 0) & 0xf) !== STT_FUNC) continue;
    if (symbol.readUInt16LE(fields.section) === SHN_UNDEF) continue;
    const offset = word(symbol, fields.value) - base;
    const sizeBytes = word(symbol, fields.length);
    const nameStart = symbol.readUInt32LE(0);
    const nameEnd = names.indexOf(0, nameStart);
    if (nameStart >= names.length || nameEnd < 0 || nameEnd - nameStart > MAX_NAME) continue;
    if (!(offset >= 0 && offset + sizeBytes <= image.length)) continue;
    found.push({ name: names.toString('latin1', nameStart, nameEnd), offset, sizeBytes });
  }
  return found;
}
