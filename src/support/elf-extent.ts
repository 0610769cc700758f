/** How far an ELF image of 32 or 64 bits reaches: elf(5). For a vDSO, whose last page has room behind it. */

const ELF_MAGIC = 0x7f454c46;
const CLASS = 4;
const CLASS_32 = 1;

export interface ElfLayout {
  readonly is64: boolean;
  readonly headerSize: number;
  readonly word: (image: Buffer, offset: number) => number;
  readonly programHeaders: number;
  readonly sectionHeaders: number;
  /** e_phentsize; e_phnum, e_shentsize and e_shnum follow. */
  readonly counts: number;
  readonly segmentOffset: number;
  readonly segmentFileSize: number;
  readonly programHeaderSize: number;
}

const layout64: ElfLayout = {
  is64: true,
  headerSize: 64,
  word: (image, offset) => Number(image.readBigUInt64LE(offset)),
  programHeaders: 32,
  sectionHeaders: 40,
  counts: 54,
  segmentOffset: 8,
  segmentFileSize: 32,
  programHeaderSize: 56,
};

const layout32: ElfLayout = {
  is64: false,
  headerSize: 52,
  word: (image, offset) => image.readUInt32LE(offset),
  programHeaders: 28,
  sectionHeaders: 32,
  counts: 42,
  segmentOffset: 4,
  segmentFileSize: 16,
  programHeaderSize: 32,
};

/** Where an ELF image of its class has what. Undefined if it is none. */
export function layoutOf(image: Buffer): ElfLayout | undefined {
  if (image.length < layout64.headerSize || image.readUInt32BE(0) !== ELF_MAGIC) return undefined;
  return image[CLASS] === CLASS_32 ? layout32 : layout64;
}

/** The end of the section headers, which stand last. Undefined if it is no ELF image. */
export function endOfSectionHeaders(image: Buffer): number | undefined {
  const layout = layoutOf(image);
  if (layout === undefined) return undefined;
  const { word, sectionHeaders, counts } = layout;
  return word(image, sectionHeaders) + image.readUInt16LE(counts + 4) * image.readUInt16LE(counts + 6);
}

/** The end of the section headers or of the last segment, whichever is later. Undefined if it is no ELF image. */
export function endOfElf(image: Buffer): number | undefined {
  const layout = layoutOf(image);
  let end = endOfSectionHeaders(image);
  if (layout === undefined || end === undefined) return undefined;
  const { word, counts } = layout;
  for (let index = 0; index < image.readUInt16LE(counts + 2); index++) {
    const header = word(image, layout.programHeaders) + index * image.readUInt16LE(counts);
    if (header + layout.programHeaderSize > image.length) break;
    const segmentEnd = word(image, header + layout.segmentOffset) + word(image, header + layout.segmentFileSize);
    end = Math.max(end, segmentEnd);
  }
  return end;
}
