/** Rings of io_uring(7): of our own to try, and the memory of those that somebody else made. */
import { type LocalFd, localAddress } from '../../support/brand.ts';
import { IORING, ioUringAbi } from '../abi/io-uring.ts';
import { MAP, PROT } from '../abi/mman.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall, viewOf } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';
import { structOf } from '../struct.ts';

const PAGE = 4096;
const params = structOf(ioUringAbi.structs.io_uring_params);
export const RING_PARAMS_SIZE = params.size;

/** What a ring is made with: IORING_SETUP_*, and how many entries its two queues have. */
export interface RingShape {
  readonly setup: number;
  readonly sqEntries: number;
  readonly cqEntries: number;
}

/** Where the kernel has put the completions, and the index array of submissions (0: there is none), in the memory of the rings. */
export interface RingOffsets {
  readonly cqes: number;
  readonly array: number;
}

export const encodeRingParams = ({ setup, cqEntries }: RingShape): Buffer =>
  params.encode({ flags: (setup | IORING.IORING_SETUP_CQSIZE) >>> 0, cq_entries: cqEntries });

export function decodeRingOffsets(answer: DataView): RingOffsets {
  const { 'cq_off.cqes': cqes, 'sq_off.array': array } = params.read(answer);
  return { cqes, array };
}

/** A ring of our own, or the errno, negative. */
export function tryMakeRing(shape: RingShape): { readonly ring: OwnedFd; readonly offsets: RingOffsets } | number {
  newCall();
  const block = scratch(RING_PARAMS_SIZE);
  encodeRingParams(shape).copy(block.bytes);
  const fd = rawSyscall(SYS.io_uring_setup, shape.sqEntries, block.address);
  return isFailure(fd) ? fd : { ring: new OwnedFd(fd), offsets: decodeRingOffsets(block.view) };
}

/** Takes `count` submissions from the ring; returns how many it took. */
export const submit = (ring: LocalFd, count: number): number =>
  check('io_uring_enter', rawSyscall(SYS.io_uring_enter, ring, count, 0, 0, 0, 0), { doing: 'submit to a ring' });

/** A ring's memory, mapped by us too: a window onto it, until {@link unmap}. */
export class RingMemory {
  readonly bytes: Buffer;
  readonly #address: number;

  private constructor(address: number, sizeBytes: number) {
    this.#address = address;
    this.bytes = Buffer.from(viewOf(localAddress(address), sizeBytes));
  }

  /** `offset`: IORING_OFF_*. */
  static map(ring: LocalFd, offset: number, sizeBytes: number): RingMemory {
    const access = PROT.PROT_READ | PROT.PROT_WRITE;
    const address = rawSyscall(SYS.mmap, 0, sizeBytes, access, MAP.MAP_SHARED, ring, offset);
    check('mmap', address, { doing: "map a ring's memory" });
    return new RingMemory(address, sizeBytes);
  }

  unmap(): void {
    rawSyscall(SYS.munmap, this.#address, Math.ceil(this.bytes.length / PAGE) * PAGE);
  }
}
