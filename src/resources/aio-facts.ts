/**
 * Contexts of asynchronous I/O (io_setup(2)) as the kernel has them: `struct kioctx` of fs/aio.c. The program sees of each only the ring of its answers,
 * which does not tell what is still being worked on.
 */
import { tryOpenPidfd } from '../kernel/calls/descriptors.ts';
import { type KernelObjects, UnknownKernelObject } from '../kernel/kernel-objects.ts';
import { possibleCpus } from '../procfs/cpus.ts';
import type { Pid } from '../support/brand.ts';

export interface AioContext {
  /** Where its ring is mapped: the number by which the program calls it. */
  readonly address: number;
  readonly sizeBytes: number;
  /** How many requests it was asked to have room for. */
  readonly wanted: number;
  /** How many answers the ring has room for, and one more. */
  readonly slots: number;
  /** Where the kernel puts the next answer. */
  readonly tail: number;
  /** Requests that have not been answered yet. */
  readonly inFlight: number;
}

/** Of a process. Throws {@link UnknownKernelObject}. */
export function readAioContexts(kernel: KernelObjects, pid: Pid): AioContext[] {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) return [];
  try {
    const leader = kernel.leaderOf(pidfd.number);
    if (kernel.numberOfTask(leader) !== pid) throw new UnknownKernelObject('the process cannot be found');
    return contextsOf(kernel, kernel.u64('task_struct', leader, 'mm'));
  } finally {
    pidfd.close();
  }
}

function contextsOf(kernel: KernelObjects, memory: bigint): AioContext[] {
  const table = memory === 0n ? 0n : kernel.u64('mm_struct', memory, 'ioctx_table');
  if (table === 0n) return [];
  const count = kernel.struct('kioctx_table', table).u32('nr');
  const entries = kernel.pointers(table + BigInt(kernel.offsetOf('kioctx_table', 'table')), count);
  return entries.filter((address) => address !== 0n).map((address) => contextAt(kernel, address));
}

function contextAt(kernel: KernelObjects, at: bigint): AioContext {
  const context = kernel.struct('kioctx', at);
  const slots = context.u32('nr_events');
  // What a processor has taken for requests to come is free too. An answer keeps its place until the kernel sees that it has been read.
  const free = context.u32('reqs_available.counter') + kernel.sumOfCpus(context.u64('cpu'), possibleCpus());
  return {
    address: Number(context.u64('mmap_base')),
    sizeBytes: Number(context.u64('mmap_size')),
    wanted: context.u32('max_reqs'),
    slots,
    tail: context.u32('tail'),
    inFlight: slots - 1 - (free | 0) - context.u32('completed_events'),
  };
}
