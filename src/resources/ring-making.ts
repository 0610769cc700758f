/**
 * A ring made again. Its process makes it, because the kernel remembers who did; then it is brought to where both queues were, by requests that do
 * nothing (IORING_OP_NOP): programs keep the counters themselves too (liburing), and the kernel's own can be set in no other way.
 */
import { IORING } from '../kernel/abi/io-uring.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import {
  decodeRingOffsets,
  encodeRingParams,
  RING_PARAMS_SIZE,
  RingMemory,
  type RingOffsets,
  type RingShape,
  submit,
} from '../kernel/calls/io-uring.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { RebuiltProcess } from './resource.ts';
import { takeOut } from './take-out.ts';

export interface SavedRing extends RingShape {
  readonly sqHead: number;
  readonly cqTail: number;
  readonly offsets: RingOffsets;
  /** Bytes of the two pieces of memory, and what is in them but for zeros at the end. */
  readonly ringBytes: number;
  readonly sqeBytes: number;
  readonly rings: Uint8Array;
  readonly sqes: Uint8Array;
}

/** Members of struct io_rings, which every program that maps it knows by io_sqring_offsets and io_cqring_offsets (io_uring_setup(2)). */
const SQ_HEAD = 0;
const SQ_TAIL = 4;
const CQ_HEAD = 8;
const CQ_TAIL = 12;

/** Whether only the task that made it may submit. */
export const isOfOneTask = ({ setup }: RingShape): boolean => (setup & IORING.IORING_SETUP_SINGLE_ISSUER) !== 0;

export const sqeSize = ({ setup }: RingShape): number => ((setup & IORING.IORING_SETUP_SQE128) === 0 ? 64 : 128);

export function remakeRing(saved: SavedRing, process: RebuiltProcess): OwnedFd {
  const { batch } = process;
  const params = batch.data(RING_PARAMS_SIZE);
  encodeRingParams(saved).copy(params.bytes);
  const made = batch.call('make a ring', SYS.io_uring_setup, saved.sqEntries, params.address);
  batch.run();
  const own = takeOut(process, made.result);
  try {
    const { bytes } = params;
    const offsets = decodeRingOffsets(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    if (offsets.array !== saved.offsets.array || offsets.cqes !== saved.offsets.cqes) throw otherLayout();
    const enter = isOfOneTask(saved)
      ? (count: number): number => submitInside(process, made.result, count)
      : (count: number): number => submit(own.number, count);
    fill(saved, own, enter);
    batch.call('close a ring that was taken out', SYS.close, made.result);
    batch.run();
    return own;
  } catch (error) {
    own.close();
    throw error;
  }
}

export const otherLayout = (): QuicksaveError =>
  new QuicksaveError('no-io-uring', 'The kernel here lays out the memory of an io_uring in another way.');

function submitInside({ batch }: RebuiltProcess, ring: number, count: number): number {
  const entered = batch.call('submit to a ring', SYS.io_uring_enter, ring, count, 0, 0, 0, 0);
  batch.run();
  return entered.result;
}

function fill(saved: SavedRing, own: OwnedFd, enter: (count: number) => number): void {
  const rings = RingMemory.map(own.number, IORING.IORING_OFF_SQ_RING, saved.ringBytes);
  try {
    const sqes = RingMemory.map(own.number, IORING.IORING_OFF_SQES, saved.sqeBytes);
    try {
      advance(saved, rings.bytes, sqes.bytes, enter);
      setBytes(rings.bytes, saved.rings);
      setBytes(sqes.bytes, saved.sqes);
    } finally {
      sqes.unmap();
    }
  } finally {
    rings.unmap();
  }
}

function setBytes(memory: Buffer, bytes: Uint8Array): void {
  memory.fill(0);
  memory.set(bytes);
}

/** A submission of zeros is an IORING_OP_NOP that posts a completion; those that are too many for the other queue post none. */
function advance(saved: SavedRing, rings: Buffer, sqes: Buffer, enter: (count: number) => number): void {
  const { sqEntries, cqEntries, sqHead, cqTail, offsets } = saved;
  if (offsets.array !== 0) {
    for (let index = 0; index < sqEntries; index++) rings.writeUInt32LE(index, offsets.array + 4 * index);
  }
  const take = (goal: number, atOnce: number): void => {
    for (let done = rings.readUInt32LE(SQ_HEAD); done < goal; done = rings.readUInt32LE(SQ_HEAD)) {
      const count = Math.min(goal - done, atOnce);
      rings.writeUInt32LE(done + count, SQ_TAIL);
      const taken = enter(count);
      if (taken !== count)
        throw new QuicksaveError('no-io-uring', `A ring took ${taken} requests instead of ${count}.`);
      rings.writeUInt32LE(rings.readUInt32LE(CQ_TAIL), CQ_HEAD);
    }
  };
  take(cqTail, Math.min(sqEntries, cqEntries));
  const size = sqeSize(saved);
  for (let index = 0; index < sqEntries; index++) sqes.writeUInt8(IORING.IOSQE_CQE_SKIP_SUCCESS, index * size + 1);
  take(sqHead, sqEntries);
  if (rings.readUInt32LE(CQ_TAIL) !== cqTail) {
    throw new QuicksaveError('no-io-uring', 'A ring has counted its completions in another way than it was told to.');
  }
}
