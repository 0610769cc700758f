/** Taking an image apart into its records and putting changed ones together again, with checksums that are right. */

import {
  checksumIn,
  decodeRecordHeader,
  encodeFrame,
  paddedLength,
  RECORD_HEADER_SIZE,
} from '../../src/image/frame.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { ChecksumDigest, encodeTail } from '../../src/image/tail.ts';

export interface Piece {
  readonly type: number;
  readonly flags: number;
  readonly objref: number;
  readonly payload: Buffer;
}

/** All records of an image but TAIL. */
export function takeApart(image: Buffer): Piece[] {
  const pieces: Piece[] = [];
  for (let offset = 0; offset < image.length; ) {
    const header = decodeRecordHeader(image.subarray(offset, offset + RECORD_HEADER_SIZE), offset);
    const start = offset + RECORD_HEADER_SIZE;
    const { type, flags, objref, length } = header;
    if (type !== RECORD.TAIL)
      pieces.push({ type, flags, objref, payload: Buffer.from(image.subarray(start, start + length)) });
    offset = start + paddedLength(length);
  }
  return pieces;
}

/** An image of these records, every checksum and the digest made anew. */
export function putTogether(pieces: readonly Piece[]): Buffer {
  const digest = new ChecksumDigest();
  const records = pieces.map(({ type, flags, objref, payload }) => {
    const record = encodeFrame(type, flags, objref, payload);
    digest.add(checksumIn(record));
    return record;
  });
  return Buffer.concat([...records, encodeFrame(RECORD.TAIL, 0, 0, encodeTail(digest.finish()))]);
}
