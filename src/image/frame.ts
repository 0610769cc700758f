/**
 * The frame around each record: a header of 24 bytes, the payload, zeros up to the next multiple of 8.
 */
import { crc32c } from '../support/checksum.ts';
import { badRecord } from './image-errors.ts';
import { hasUnknownFlags, recordLabel } from './record-types.ts';

export const RECORD_HEADER_SIZE = 24;
const RECORD_ALIGNMENT = 8;
const CRC_OFFSET = 4;
const RESERVED_OFFSET = 20;

export interface RecordHeader {
  readonly type: number;
  readonly flags: number;
  readonly crc: number;
  /** Bytes of the payload, without padding. */
  readonly length: number;
  readonly objref: number;
}

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The length with padding; exact for every length that a number holds. */
export const paddedLength = (length: number): number => Math.ceil(length / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;

export function isAllZero(bytes: Uint8Array): boolean {
  // A loop: `every` takes ten times as long, for the padding of each chunk of raw pages.
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** Writes a header into the first bytes of `into`. */
export function putRecordHeader(into: Uint8Array, header: RecordHeader): void {
  const view = viewOf(into);
  view.setUint16(0, header.type, true);
  view.setUint16(2, header.flags, true);
  view.setUint32(CRC_OFFSET, header.crc, true);
  view.setBigUint64(8, BigInt(header.length), true);
  view.setUint32(16, header.objref, true);
  view.setUint32(RESERVED_OFFSET, 0, true);
}

/** `offset` is where the header stands in the stream, for the errors. */
export function decodeRecordHeader(bytes: Uint8Array, offset: number): RecordHeader {
  const view = viewOf(bytes);
  const type = view.getUint16(0, true);
  const flags = view.getUint16(2, true);
  const length = view.getBigUint64(8, true);
  const label = recordLabel(type, offset);
  if (view.getUint32(RESERVED_OFFSET, true) !== 0) throw badRecord(label, 'its reserved field is not zero', offset);
  if (hasUnknownFlags(flags)) throw badRecord(label, `it has unknown flags (0x${flags.toString(16)})`, offset);
  if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw badRecord(label, `its length of ${length} is absurd`, offset);
  return {
    type,
    flags,
    crc: view.getUint32(CRC_OFFSET, true),
    length: Number(length),
    objref: view.getUint32(16, true),
  };
}

/** The checksum of a header as if its checksum field were zero; the payload is added to it. */
export function headerChecksum(header: Uint8Array): number {
  // Not `slice`, which for a Buffer is no copy.
  const copy = new Uint8Array(header.subarray(0, RECORD_HEADER_SIZE));
  copy.fill(0, CRC_OFFSET, CRC_OFFSET + 4);
  return crc32c(copy);
}

/** The checksum of what `crc` is the checksum of, followed by bytes that only the function knows. */
export type ContinueChecksum = (crc: number) => number;

/** Computes the checksum over a header, what follows it in `head`, and the rest; writes it into the header. */
export function sealHeader(head: Uint8Array, withRest: ContinueChecksum = (crc) => crc): number {
  const crc = withRest(crc32c(head.subarray(RECORD_HEADER_SIZE), headerChecksum(head)));
  viewOf(head).setUint32(CRC_OFFSET, crc, true);
  return crc;
}

/** A whole record: header with its checksum, payload, padding. */
export function encodeFrame(type: number, flags: number, objref: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(RECORD_HEADER_SIZE + paddedLength(payload.length));
  putRecordHeader(frame, { type, flags, crc: 0, length: payload.length, objref });
  frame.set(payload, RECORD_HEADER_SIZE);
  sealHeader(frame.subarray(0, RECORD_HEADER_SIZE + payload.length));
  return frame;
}

/** The checksum that stands in a record's header. */
export const checksumIn = (frame: Uint8Array): number => viewOf(frame).getUint32(CRC_OFFSET, true);
