/**
 * What an io_uring is: of what it was made with and of what it has in it no file and no call tells more than a part, so its own struct in the kernel
 * is read (io_ring_ctx of linux/io_uring_types.h). An older kernel than 6.14 has not all that is read here.
 */
import type { RingOffsets, RingShape } from '../kernel/calls/io-uring.ts';
import { type KernelObjects, type KernelStruct, UnknownKernelObject } from '../kernel/kernel-objects.ts';
import type { LocalFd, Pid } from '../support/brand.ts';

export interface RingFacts extends RingShape {
  /** Where the kernel stands in both queues: how many entries it has ever taken and posted, in 32 bits. */
  readonly sqHead: number;
  readonly cqTail: number;
  readonly offsets: RingOffsets;
  /** Of the two pieces of memory that the program maps. */
  readonly ringPages: number;
  readonly sqePages: number;
  /** Requests that have not been answered yet. */
  readonly inFlight: number;
  /** Completions for which there was no room. */
  readonly hasOverflow: boolean;
  /** The task that alone may submit (IORING_SETUP_SINGLE_ISSUER), by its number; 0 if any may. */
  readonly issuer: number;
  /** Made by a system call of i386. */
  readonly isCompat: boolean;
  /** What is registered that can be registered again. */
  readonly registrations: RingRegistrations;
  /** What else is registered, in words. */
  readonly registered: readonly string[];
}

/** In its slots; a slot may be empty. */
export interface RingRegistrations {
  readonly files: readonly (RegisteredFile | undefined)[];
  readonly buffers: readonly (RegisteredBuffer | undefined)[];
  /** The slots for files of which the kernel may choose one itself (IORING_FILE_INDEX_ALLOC). */
  readonly free: { readonly start: number; readonly end: number };
  readonly eventfd: { readonly fd: number | undefined; readonly isAsync: boolean } | undefined;
  /** Bounded and unbounded. */
  readonly workers: readonly [number, number] | undefined;
}

/** `fd`: a number under which the process has it, undefined if it has closed it. */
export interface RegisteredFile {
  readonly fd: number | undefined;
  readonly tag: bigint;
}

/** `isKernels`: not the program's own memory. */
export interface RegisteredBuffer {
  readonly address: bigint;
  readonly sizeBytes: number;
  readonly tag: bigint;
  readonly isKernels: boolean;
}

/** Of the ring that our descriptor stands for, and that process `pid` has. Throws {@link UnknownKernelObject}. */
export function readRing(kernel: KernelObjects, own: LocalFd, pid: Pid): RingFacts {
  const file = kernel.fileOf(own);
  const ring = kernel.struct('io_ring_ctx', file.u64('private_data'));
  const rings = ring.u64('rings');
  const sqArray = ring.u64('sq_array');
  const tasks = tasksOf(kernel, ring);
  return {
    setup: ring.u32('flags'),
    sqEntries: ring.u32('sq_entries'),
    cqEntries: ring.u32('cq_entries'),
    sqHead: ring.u32('cached_sq_head'),
    cqTail: ring.u32('cached_cq_tail'),
    offsets: { cqes: kernel.offsetOf('io_rings', 'cqes'), array: sqArray === 0n ? 0 : Number(sqArray - rings) },
    ringPages: ring.u32('ring_region.nr_pages'),
    sqePages: ring.u32('sq_region.nr_pages'),
    inFlight: ring.u32('nr_req_allocated') - countFree(kernel, ring),
    hasOverflow: !ring.isEmptyList('cq_overflow_list'),
    issuer: issuerOf(kernel, ring),
    isCompat: ring.isSet('compat'),
    registrations: registrationsOf(kernel, ring, tasks, pid),
    registered: [
      ...registeredWith(ring),
      ...(tasks.some((task) => isRegistered(kernel, task, file.address)) ? ['its own descriptor'] : []),
    ],
  };
}

/** A request is some hundred bytes: a longer list is none. */
const MAX_REQUESTS = 1 << 20;

/** Requests that wait to be used again. */
function countFree(kernel: KernelObjects, ring: KernelStruct): number {
  let count = 0;
  for (let next = ring.u64('submit_state.free_list.next'); next !== 0n; next = kernel.pointer(next)) {
    if (++count > MAX_REQUESTS) throw new UnknownKernelObject('the free requests have no end');
  }
  return count;
}

function issuerOf(kernel: KernelObjects, ring: KernelStruct): number {
  const task = ring.u64('submitter_task');
  return task === 0n ? 0 : kernel.numberOfTask(task);
}

/** Those that have made it or have submitted to it. */
const tasksOf = (kernel: KernelObjects, ring: KernelStruct): bigint[] =>
  kernel
    .addressesIn(ring, 'tctx_list', 'io_tctx_node', 'ctx_node')
    .map((node) => kernel.u64('io_tctx_node', node, 'task'));

const CLOCK_MONOTONIC = 1;
const NO_NAPI = 255;

/** Only in some kernels; there it is null as long as nothing is registered. */
const OPTIONAL: readonly (readonly [string, string])[] = [
  ['zcrx_ctxs.xa_head', 'queues of a network card'],
  ['ifq', 'a queue of a network card'],
  ['param_region.pages', 'a region for arguments'],
];

function registeredWith(ring: KernelStruct): string[] {
  const found: [boolean, string][] = [
    [ring.isSet('restricted') || ring.isSet('restrictions.registered'), 'restrictions'],
    [ring.u64('personalities.xa_head') !== 0n, 'credentials'],
    [ring.u64('io_bl_xa.xa_head') !== 0n, 'buffers to choose from'],
    [ring.u32('clockid') !== CLOCK_MONOTONIC, 'another clock'],
    [ring.has('napi_track_mode') && ring.u8('napi_track_mode') !== NO_NAPI, 'busy polling'],
    ...OPTIONAL.map(([field, what]): [boolean, string] => [ring.has(field) && ring.u64(field) !== 0n, what]),
  ];
  return found.flatMap(([is, what]) => (is ? [what] : []));
}

/** IO_RINGFD_REG_MAX of linux/io_uring_types.h. */
const MAX_REGISTERED_RINGS = 16;

/** Whether a task has it under an index of its own (IORING_REGISTER_RING_FDS). */
function isRegistered(kernel: KernelObjects, task: bigint, file: bigint): boolean {
  const own = kernel.u64('task_struct', task, 'io_uring');
  const slots = own + BigInt(kernel.offsetOf('io_uring_task', 'registered_rings'));
  return kernel.pointers(slots, MAX_REGISTERED_RINGS).includes(file);
}

function registrationsOf(
  kernel: KernelObjects,
  ring: KernelStruct,
  tasks: readonly bigint[],
  pid: Pid,
): RingRegistrations {
  const files = slotsOf(kernel, ring, 'file_table.data');
  const eventfd = ring.u64('io_ev_fd');
  const isNeeded = files.some((node) => node !== undefined) || eventfd !== 0n;
  const numbers = isNeeded ? filesOfProcess(kernel, tasks, pid) : new Map<bigint, number>();
  return {
    files: files.map((node) => node && { fd: numbers.get(node.u64('file_ptr') & ~FILE_FLAGS), tag: node.u64('tag') }),
    buffers: slotsOf(kernel, ring, 'buf_table').map((node) => node && bufferOf(kernel, node)),
    free: { start: ring.u32('file_alloc_start'), end: ring.u32('file_alloc_end') },
    eventfd: eventfd === 0n ? undefined : eventfdOf(kernel, eventfd, numbers),
    workers: ring.isSet('iowq_limits_set') ? workersOf(ring) : undefined,
  };
}

/** What the kernel notes of a file in the low bits of the pointer to it (FFS_* of io_uring/filetable.h). */
const FILE_FLAGS = 7n;

function slotsOf(kernel: KernelObjects, ring: KernelStruct, table: string): (KernelStruct | undefined)[] {
  const count = ring.u32(`${table}.nr`);
  const nodes = count === 0 ? [] : kernel.pointers(ring.u64(`${table}.nodes`), count);
  return nodes.map((node) => (node === 0n ? undefined : kernel.struct('io_rsrc_node', node)));
}

function bufferOf(kernel: KernelObjects, node: KernelStruct): RegisteredBuffer {
  const buffer = kernel.struct('io_mapped_ubuf', node.u64('buf'));
  return {
    address: buffer.u64('ubuf'),
    sizeBytes: buffer.u32('len'),
    tag: node.u64('tag'),
    isKernels: buffer.isSet('is_kbuf'),
  };
}

/** By one of its threads that has had to do with the ring. */
function filesOfProcess(kernel: KernelObjects, tasks: readonly bigint[], pid: Pid): Map<bigint, number> {
  const task = tasks.find((one) => kernel.numberOfTask(kernel.u64('task_struct', one, 'group_leader')) === pid);
  if (task === undefined) throw new UnknownKernelObject('no thread of the process has had to do with the ring');
  return kernel.filesOfTask(task);
}

function eventfdOf(
  kernel: KernelObjects,
  registration: bigint,
  files: ReadonlyMap<bigint, number>,
): NonNullable<RingRegistrations['eventfd']> {
  const { address, ...rest } = eventfdFields(kernel, registration);
  const found = [...files].find(([file]) => kernel.u64('file', file, 'private_data') === address);
  return { fd: found?.[1], ...rest };
}

function eventfdFields(kernel: KernelObjects, registration: bigint): { address: bigint; isAsync: boolean } {
  const fields = kernel.struct('io_ev_fd', registration);
  return { address: fields.u64('cq_ev_fd'), isAsync: (fields.u32('eventfd_async') & 1) !== 0 };
}

function workersOf(ring: KernelStruct): readonly [number, number] {
  const [bounded = 0, unbounded = 0] = ring.u32s('iowq_limits', 2);
  return [bounded, unbounded];
}
