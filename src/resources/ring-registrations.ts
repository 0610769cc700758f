/** What is registered with an io_uring (io_uring_register(2)), registered again in the process that has the ring. */
import * as v from 'valibot';
import { boundedArray, integerBetween, u32, u64, userAddress } from '../image/schema.ts';
import { IORING, ioUringAbi } from '../kernel/abi/io-uring.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { structOf } from '../kernel/struct.ts';
import type { RemoteFd } from '../support/brand.ts';
import type { RebuiltProcess } from './resource.ts';
import type { RingFacts } from './ring-facts.ts';

/** IORING_MAX_FIXED_FILES and IORING_MAX_REG_BUFFERS of io_uring/rsrc.c. */
const MAX_FILES = 1 << 20;
const MAX_BUFFERS = 1 << 14;
/** Of one buffer: io_validate_user_buf_range(). */
const MAX_BUFFER_BYTES = 1 << 30;

const descriptorNumber = integerBetween(0, 2 ** 30);
const slots = <const Item extends v.GenericSchema>(item: Item, max: number) => boundedArray(v.nullable(item), max);

export const ringRegistrations = v.pipe(
  v.strictObject({
    /** Slots; null: an empty one. */
    files: slots(v.strictObject({ fd: descriptorNumber, tag: u64 }), MAX_FILES),
    buffers: slots(
      v.strictObject({ address: userAddress, sizeBytes: integerBetween(1, MAX_BUFFER_BYTES), tag: u64 }),
      MAX_BUFFERS,
    ),
    free: v.strictObject({ start: u32, end: u32 }),
    eventfd: v.nullable(v.strictObject({ fd: descriptorNumber, isAsync: v.boolean() })),
    workers: v.nullable(v.strictTuple([u32, u32])),
  }),
  v.check(
    ({ files, free }) => free.start <= free.end && free.end <= files.length,
    'must have its free slots among those for files',
  ),
);
export type SavedRegistrations = v.InferOutput<typeof ringRegistrations>;

/** Where something can be registered again by no number or address: what it is, in words. */
export function lostRegistrations({ registrations, registered }: RingFacts): string[] {
  const { files, buffers, eventfd } = registrations;
  const found: [boolean, string][] = [
    [files.some((file) => file !== undefined && file.fd === undefined), 'a file that has been closed'],
    [buffers.some((buffer) => buffer?.isKernels), "a buffer of the kernel's"],
    [eventfd !== undefined && eventfd.fd === undefined, 'an eventfd that has been closed'],
  ];
  return [...found.flatMap(([is, what]) => (is ? [what] : [])), ...registered];
}

export function savedRegistrations({
  files,
  buffers,
  free,
  eventfd,
  workers,
}: RingFacts['registrations']): SavedRegistrations {
  return {
    files: files.map((file) => (file === undefined ? null : { fd: file.fd ?? -1, tag: file.tag })),
    buffers: buffers.map((buffer) =>
      buffer === undefined ? null : { address: Number(buffer.address), sizeBytes: buffer.sizeBytes, tag: buffer.tag },
    ),
    free,
    eventfd: eventfd === undefined ? null : { fd: eventfd.fd ?? -1, isAsync: eventfd.isAsync },
    workers: workers === undefined ? null : [...workers],
  };
}

/** Descriptors of the process that are registered. */
export const registeredDescriptors = ({ files, eventfd }: SavedRegistrations): number[] => [
  ...files.flatMap((file) => (file === null ? [] : [file.fd])),
  ...(eventfd === null ? [] : [eventfd.fd]),
];

const register = structOf(ioUringAbi.structs.io_uring_rsrc_register);
const update = structOf(ioUringAbi.structs.io_uring_rsrc_update2);
const range = structOf(ioUringAbi.structs.io_uring_file_index_range);

/** An empty slot is updated with -1, and one for a buffer with no memory. */
const FILES = {
  what: 'files',
  all: IORING.IORING_REGISTER_FILES2,
  some: IORING.IORING_REGISTER_FILES_UPDATE2,
  size: 4,
} as const;
const BUFFERS = {
  what: 'buffers',
  all: IORING.IORING_REGISTER_BUFFERS2,
  some: IORING.IORING_REGISTER_BUFFERS_UPDATE,
  size: 16,
} as const;

const SLOTS_AT_ONCE = 256;

export function registerAgain(saved: SavedRegistrations, process: RebuiltProcess, ring: RemoteFd): void {
  const { files, buffers, free, eventfd, workers } = saved;
  const { batch } = process;
  const ask = (doing: string, operation: number, argument: Uint8Array, count: number): void => {
    batch.call(doing, SYS.io_uring_register, ring, operation, batch.bytes(argument).address, count);
    batch.run();
  };
  const fill = <Item extends { readonly tag: bigint }>(
    { what, all, some, size }: typeof FILES | typeof BUFFERS,
    slotsOfRing: readonly (Item | null)[],
    write: (item: Item | null, into: Buffer) => void,
  ): void => {
    if (slotsOfRing.length === 0) return;
    const sparse = register.encode({ nr: slotsOfRing.length, flags: IORING.IORING_RSRC_REGISTER_SPARSE });
    ask(`register ${what} with a ring`, all, sparse, register.size);
    for (let offset = 0; offset < slotsOfRing.length; offset += SLOTS_AT_ONCE) {
      const part = slotsOfRing.slice(offset, offset + SLOTS_AT_ONCE);
      const data = batch.data(part.length * size);
      const tags = batch.data(part.length * 8);
      part.forEach((item, index) => {
        write(item, data.bytes.subarray(index * size, (index + 1) * size));
        tags.bytes.writeBigUInt64LE(item?.tag ?? 0n, index * 8);
      });
      const asked = { offset, nr: part.length, data: BigInt(data.address), tags: BigInt(tags.address) };
      ask(`register ${what} with a ring`, some, update.encode(asked), update.size);
    }
  };
  fill(FILES, files, (file, into) => into.writeInt32LE(file?.fd ?? -1));
  fill(BUFFERS, buffers, (buffer, into) => {
    into.writeBigUInt64LE(BigInt(buffer?.address ?? 0), 0);
    into.writeBigUInt64LE(BigInt(buffer?.sizeBytes ?? 0), 8);
  });
  if (files.length > 0 && (free.start !== 0 || free.end !== files.length)) {
    const asked = range.encode({ off: free.start, len: free.end - free.start });
    ask('set the free slots of a ring', IORING.IORING_REGISTER_FILE_ALLOC_RANGE, asked, 0);
  }
  if (eventfd !== null) {
    const { IORING_REGISTER_EVENTFD, IORING_REGISTER_EVENTFD_ASYNC } = IORING;
    const operation = eventfd.isAsync ? IORING_REGISTER_EVENTFD_ASYNC : IORING_REGISTER_EVENTFD;
    const number = Buffer.alloc(4);
    number.writeInt32LE(eventfd.fd);
    ask('register an eventfd with a ring', operation, number, 1);
  }
  if (workers !== null) {
    const limits = Buffer.from(Uint32Array.from(workers).buffer);
    ask('limit the workers of a ring', IORING.IORING_REGISTER_IOWQ_MAX_WORKERS, limits, 2);
  }
}
