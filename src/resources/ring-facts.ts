/**
 * What an io_uring is: of what it was made with and of what it has in it no file and no call tells more than a part, so its own struct in the kernel
 * is read (io_ring_ctx of linux/io_uring_types.h; requests are counted there since Linux 6.14).
 */
import type { RingOffsets, RingShape } from '../kernel/calls/io-uring.ts';
import { type KernelObjects, type KernelStruct, UnknownKernelObject } from '../kernel/kernel-objects.ts';
import type { LocalFd } from '../support/brand.ts';

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
  readonly registeredFiles: number;
  readonly registeredBuffers: number;
  /** What else has been registered with it, in words. */
  readonly registered: readonly string[];
}

/** Of the ring that our descriptor stands for. Throws {@link UnknownKernelObject}. */
export function readRing(kernel: KernelObjects, own: LocalFd): RingFacts {
  const file = kernel.fileOf(own);
  const ring = kernel.struct('io_ring_ctx', file.u64('private_data'));
  const rings = ring.u64('rings');
  const sqArray = ring.u64('sq_array');
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
    isCompat: ring.isSet('compat'),
    issuer: issuerOf(kernel, ring),
    registeredFiles: ring.u32('file_table.data.nr'),
    registeredBuffers: ring.u32('buf_table.nr'),
    registered: [...registeredWith(ring), ...(isRegistered(kernel, ring, file.address) ? ['its own descriptor'] : [])],
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
    [ring.u64('io_ev_fd') !== 0n, 'an eventfd'],
    [ring.isSet('restricted') || ring.isSet('restrictions.registered'), 'restrictions'],
    [ring.u64('personalities.xa_head') !== 0n, 'credentials'],
    [ring.u64('io_bl_xa.xa_head') !== 0n, 'buffers to choose from'],
    [ring.isSet('iowq_limits_set'), 'a limit of workers'],
    [ring.u32('clockid') !== CLOCK_MONOTONIC, 'another clock'],
    [ring.has('napi_track_mode') && ring.u8('napi_track_mode') !== NO_NAPI, 'busy polling'],
    ...OPTIONAL.map(([field, what]): [boolean, string] => [ring.has(field) && ring.u64(field) !== 0n, what]),
  ];
  return found.flatMap(([is, what]) => (is ? [what] : []));
}

/** IO_RINGFD_REG_MAX of linux/io_uring_types.h. */
const MAX_REGISTERED = 16;

/** Whether a task has it under an index of its own (IORING_REGISTER_RING_FDS). */
function isRegistered(kernel: KernelObjects, ring: KernelStruct, file: bigint): boolean {
  const slots = BigInt(kernel.offsetOf('io_uring_task', 'registered_rings'));
  return kernel.addressesIn(ring, 'tctx_list', 'io_tctx_node', 'ctx_node').some((node) => {
    const task = kernel.u64('io_tctx_node', node, 'task');
    const own = kernel.u64('task_struct', task, 'io_uring');
    return kernel.pointers(own + slots, MAX_REGISTERED).includes(file);
  });
}
