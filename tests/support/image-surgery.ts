/** Taking an image apart into its records and putting changed ones together again, with checksums that are right. */

import { createHash, randomBytes } from 'node:crypto';
import { type CpuState, decodeCpu, encodeCpu } from '../../src/arch/x86/records.ts';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
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

/** The vDSO of an image, as TASK has it. */
export interface SavedVdso {
  readonly image: Buffer;
  readonly data: readonly { readonly address: number; readonly bytes: Buffer }[];
}

/** As if the image came from another kernel: its vDSO exchanged, with a digest that is right. */
export function withVdso(image: Buffer, change: (vdso: SavedVdso) => SavedVdso): Buffer {
  return putTogether(
    takeApart(image).map((piece) => {
      if (piece.type !== RECORD.TASK) return piece;
      const task = decodeCbor(piece.payload) as Record<string, unknown>;
      const vdso = change(task['vdso'] as SavedVdso);
      const sha256 = createHash('sha256').update(vdso.image).digest('hex');
      return { ...piece, payload: Buffer.from(encodeCbor({ ...task, vdso: { ...vdso, sha256 } })) };
    }),
  );
}

/**
 * The same functions at the same places under another name: what a thread was doing in the middle of one can go on. The clocks
 * are wrong by days, as those of another machine are.
 */
export function ofAnotherKernel({ image, data }: SavedVdso): SavedVdso {
  const other = Buffer.from(image);
  const note = other.indexOf(GNU_NOTE);
  if (note < 0) throw new Error('the vDSO has no build id');
  randomBytes(BUILD_ID_BYTES).copy(other, note + GNU_NOTE.length);
  return { image: other, data: data.map(({ address, bytes }) => ({ address, bytes: setBack(bytes) })) };
}

/** Type NT_GNU_BUILD_ID and the owner, behind which the build id stands. */
const GNU_NOTE = Buffer.from('\x03\0\0\0GNU\0', 'latin1');
const BUILD_ID_BYTES = 20;
const COUNTER = 8;
const DAYS = 2n ** 50n;

/** A page of clocks: the counter at their last update, long ago. */
function setBack(page: Buffer): Buffer {
  const bytes = Buffer.from(page);
  const mode = bytes.length < 2 * COUNTER ? 0 : bytes.readInt32LE(4);
  if (mode < 1 || mode > 3) return bytes;
  const counter = bytes.subarray(COUNTER, 2 * COUNTER);
  const before = Buffer.alloc(COUNTER);
  before.writeBigInt64LE(counter.readBigInt64LE() - DAYS);
  for (let at = bytes.indexOf(counter); at >= 0; at = bytes.indexOf(counter, at + COUNTER)) {
    if (at !== COUNTER) before.copy(bytes, at);
  }
  before.copy(bytes, COUNTER);
  return bytes;
}

/** The vDSO in an image, and where it is mapped. */
export function vdsoOf(image: Buffer): SavedVdso & { readonly start: number } {
  const states = takeApart(image).map(({ type, payload }) => ({ type, payload }));
  const decoded = (wanted: number): unknown[] =>
    states.filter(({ type }) => type === wanted).map(({ payload }) => decodeCbor(payload));
  const [task] = decoded(RECORD.TASK) as { vdso: SavedVdso }[];
  const mappings = (decoded(RECORD.VMA) as { mappings: { kind: string; start: number; state: { name?: string } }[] }[])
    .flatMap((record) => record.mappings)
    .filter(({ kind, state }) => kind === 'kernel' && state.name === '[vdso]');
  if (task === undefined || mappings[0] === undefined) throw new Error('the image has no vDSO');
  return { ...task.vdso, image: Buffer.from(task.vdso.image), start: mappings[0].start };
}

/** The registers of one thread changed. */
export function withCpu(image: Buffer, tid: number, change: (cpu: CpuState) => CpuState): Buffer {
  return putTogether(
    takeApart(image).map((piece) => {
      if (piece.type !== RECORD.CPU || piece.objref !== tid) return piece;
      return { ...piece, payload: encodeCpu(change(decodeCpu(piece.payload, 'CPU record'))) };
    }),
  );
}
