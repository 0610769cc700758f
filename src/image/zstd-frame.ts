/**
 * What the headers of a zstd frame (RFC 8878) say about it, read without decompressing: whether it is one whole frame, what it
 * claims to hold, and what its blocks could become at most. A few bytes can otherwise become terabytes.
 */
import { viewOf } from './frame.ts';

const MAGIC = 0xfd2f_b528;
/** No block holds more, RFC 8878 3.1.1.2.4. */
const MAX_BLOCK_BYTES = 128 * 1024;
const MAX_HEADER_SIZE = 18;
const BLOCK = { RAW: 0, RLE: 1, COMPRESSED: 2 } as const;
const CONTENT_SIZE_FIELD_4_BYTES = 0x80;

export interface ZstdFrame {
  /** Undefined where the header does not say. */
  readonly contentSize: number | undefined;
  /** The blocks can never hold more than this. */
  readonly possibleBytes: number;
}

interface FrameHeader {
  readonly size: number;
  readonly contentSize: number | undefined;
  readonly hasChecksum: boolean;
}

/** Undefined for what is not exactly one frame without a dictionary. */
export function inspectZstdFrame(bytes: Uint8Array): ZstdFrame | undefined {
  const header = readHeader(bytes);
  if (header === undefined) return undefined;
  const possibleBytes = walkBlocks(bytes, header);
  return possibleBytes === undefined ? undefined : { contentSize: header.contentSize, possibleBytes };
}

/**
 * The same frame with the size of its content in its header. Streaming encoders, which do not know the end when they begin, leave
 * it out.
 */
export function withContentSize(frame: Uint8Array, contentSize: number): Uint8Array {
  const header = readHeader(frame);
  if (header === undefined || header.contentSize !== undefined) return frame;
  const sized = new Uint8Array(frame.length + 4);
  sized.set(frame.subarray(0, header.size));
  sized[4] = (frame[4] ?? 0) | CONTENT_SIZE_FIELD_4_BYTES;
  viewOf(sized).setUint32(header.size, contentSize, true);
  sized.set(frame.subarray(header.size), header.size + 4);
  return sized;
}

function readHeader(bytes: Uint8Array): FrameHeader | undefined {
  // Padded, so that fields can be read before it is known whether they are there.
  const padded = new Uint8Array(MAX_HEADER_SIZE);
  padded.set(bytes.subarray(0, MAX_HEADER_SIZE));
  const view = viewOf(padded);
  const descriptor = view.getUint8(4);
  const hasDictionary = (descriptor & 3) !== 0;
  const hasReservedBits = (descriptor & 0x18) !== 0;
  if (view.getUint32(0, true) !== MAGIC || hasDictionary || hasReservedBits) return undefined;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeField = isSingleSegment ? 5 : 6;
  const sizeFieldBytes = contentSizeBytes(descriptor >> 6, isSingleSegment);
  const size = sizeField + sizeFieldBytes;
  if (size > bytes.length) return undefined;
  const contentSize = readContentSize(view, sizeField, sizeFieldBytes);
  return { size, contentSize, hasChecksum: (descriptor & 4) !== 0 };
}

function contentSizeBytes(flag: number, isSingleSegment: boolean): number {
  if (flag === 0) return isSingleSegment ? 1 : 0;
  return 1 << flag;
}

function readContentSize(view: DataView, at: number, size: number): number | undefined {
  if (size === 0) return undefined;
  if (size === 1) return view.getUint8(at);
  if (size === 2) return view.getUint16(at, true) + 256;
  return size === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

function walkBlocks(bytes: Uint8Array, header: FrameHeader): number | undefined {
  let at = header.size;
  let possibleBytes = 0;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return undefined;
    const blockHeader = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
    const type = (blockHeader >> 1) & 3;
    const size = blockHeader >> 3;
    if (type > BLOCK.COMPRESSED || size > MAX_BLOCK_BYTES) return undefined;
    possibleBytes += type === BLOCK.COMPRESSED ? MAX_BLOCK_BYTES : size;
    at += 3 + (type === BLOCK.RLE ? 1 : size);
    isLast = (blockHeader & 1) === 1;
  }
  return at + (header.hasChecksum ? 4 : 0) === bytes.length ? possibleBytes : undefined;
}
