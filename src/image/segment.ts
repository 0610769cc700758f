/**
 * What follows the envelope of an encrypted image: the plain image in segments, each encrypted and authenticated by itself, so
 * that threads can make and open them side by side. Where a segment's bytes stand in the plain image, and whether they are
 * its last, is its nonce: one that is elsewhere, or of another image, does not open, and an end that is none is seen (the
 * STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { viewOf } from './frame.ts';
import { damagedImage, misuse } from './image-errors.ts';
import { MAX_RAW_BYTES } from './page-chunk.ts';

/** Length and flags, before the encrypted bytes. */
export const SEGMENT_HEADER_SIZE = 8;
const TAG_SIZE = 16;
/** What a segment takes beside its bytes. */
export const SEGMENT_OVERHEAD = SEGMENT_HEADER_SIZE + TAG_SIZE;
/** The data of the largest chunk is one. */
export const MAX_SEGMENT_BYTES = MAX_RAW_BYTES;
const FLAG_LAST = 1;

export interface SegmentHeader {
  /** Bytes of the plain image in it. */
  readonly length: number;
  readonly isLast: boolean;
}

/** Header, encrypted bytes and tag of the bytes that begin at `position` of the plain image. */
export function sealSegment(
  key: Uint8Array,
  position: number,
  parts: readonly Uint8Array[],
  { isLast = false }: { readonly isLast?: boolean } = {},
): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length === 0 || length > MAX_SEGMENT_BYTES) throw misuse(`a segment of ${length} bytes`);
  const header = encodeSegmentHeader({ length, isLast });
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(position, isLast));
  cipher.setAAD(header);
  const encrypted = parts.map((part) => cipher.update(part));
  cipher.final();
  return [header, ...encrypted, cipher.getAuthTag()];
}

/** `encrypted`: what stands behind the header, the tag too. Throws ImageError if it is not what was written there. */
export function openSegment(key: Uint8Array, position: number, header: SegmentHeader, encrypted: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(position, header.isLast), { authTagLength: TAG_SIZE });
  decipher.setAAD(encodeSegmentHeader(header));
  decipher.setAuthTag(encrypted.subarray(header.length, header.length + TAG_SIZE));
  const bytes = decipher.update(encrypted.subarray(0, header.length));
  try {
    decipher.final();
  } catch {
    bytes.fill(0);
    throw damagedImage(`the encrypted bytes from ${position} on are not the ones that were written there`, position);
  }
  return bytes;
}

function encodeSegmentHeader({ length, isLast }: SegmentHeader): Uint8Array {
  const header = new Uint8Array(SEGMENT_HEADER_SIZE);
  viewOf(header).setUint32(0, length, true);
  viewOf(header).setUint32(4, isLast ? FLAG_LAST : 0, true);
  return header;
}

export function decodeSegmentHeader(bytes: Uint8Array, offset: number): SegmentHeader {
  const length = viewOf(bytes).getUint32(0, true);
  const flags = viewOf(bytes).getUint32(4, true);
  if (length === 0 || length > MAX_SEGMENT_BYTES || flags > FLAG_LAST) {
    throw damagedImage(`at byte ${offset} there is no encrypted segment`, offset);
  }
  return { length, isLast: flags === FLAG_LAST };
}

/** Unique under the key of one image, as no two segments of it begin at the same byte. */
function nonceOf(position: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  viewOf(nonce).setBigUint64(0, BigInt(position), true);
  viewOf(nonce).setUint32(8, isLast ? FLAG_LAST : 0, true);
  return nonce;
}
