/** What the kernel tells of another task, and lets us set, without running anything in it. */
import type { Pid, Tid } from '../../support/brand.ts';
import { RLIMIT } from '../abi/resource.ts';
import { SCHED } from '../abi/sched.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** prlimit(2). For a task of another uid this needs CAP_SYS_RESOURCE. */
export function getLimit(pid: Pid, resource: number): Limit {
  newCall();
  const old = scratch(16);
  check('prlimit64', rawSyscall(SYS.prlimit64, pid, resource, 0, old.address), { doing: 'read the limits', pid });
  return { soft: old.view.getBigUint64(0, true), hard: old.view.getBigUint64(8, true) };
}

/** This process leaves no core file when a signal ends it (setrlimit(2)). */
export function forbidOwnCoreFile(): void {
  newCall();
  rawSyscall(SYS.prlimit64, 0, RLIMIT.RLIMIT_CORE, scratch(16).address, 0);
}

/** sched_attr of sched_setattr(2); sizes and times in nanoseconds. */
export interface SchedulingAttributes {
  readonly policy: number;
  readonly flags: bigint;
  readonly nice: number;
  readonly priority: number;
  readonly runtime: bigint;
  readonly deadline: bigint;
  readonly period: bigint;
  readonly utilMin: number;
  readonly utilMax: number;
}

const SCHED_ATTR_SIZE = 56;
const SCHED_ATTR_SIZE_VERSION_0 = 48;
/** The upper clamp that means none (sched_setattr(2)). */
const FULL_UTILISATION = 1024;

export function getScheduling(tid: Tid): SchedulingAttributes {
  newCall();
  const attr = scratch(SCHED_ATTR_SIZE);
  const result = rawSyscall(SYS.sched_getattr, tid, attr.address, SCHED_ATTR_SIZE, 0);
  check('sched_getattr', result, { doing: 'read the scheduling policy', pid: tid });
  const { view } = attr;
  return {
    policy: view.getUint32(4, true),
    flags: view.getBigUint64(8, true),
    nice: view.getInt32(16, true),
    priority: view.getUint32(20, true),
    runtime: view.getBigUint64(24, true),
    deadline: view.getBigUint64(32, true),
    period: view.getBigUint64(40, true),
    utilMin: view.getUint32(48, true),
    utilMax: view.getUint32(52, true),
  };
}

export function setScheduling(tid: Tid, wanted: SchedulingAttributes): void {
  newCall();
  const { address, view } = scratch(SCHED_ATTR_SIZE);
  const clamps = wanted.utilMin !== 0 || (wanted.utilMax !== 0 && wanted.utilMax !== FULL_UTILISATION);
  const clampFlags = clamps ? SCHED.SCHED_FLAG_UTIL_CLAMP_MIN | SCHED.SCHED_FLAG_UTIL_CLAMP_MAX : 0;
  // Version 0 of the structure ends before the utilisation clamps, which a kernel without them refuses.
  view.setUint32(0, clamps ? SCHED_ATTR_SIZE : SCHED_ATTR_SIZE_VERSION_0, true);
  view.setUint32(4, wanted.policy, true);
  view.setBigUint64(8, wanted.flags | BigInt(clampFlags), true);
  view.setInt32(16, wanted.nice, true);
  view.setUint32(20, wanted.priority, true);
  view.setBigUint64(24, wanted.runtime, true);
  view.setBigUint64(32, wanted.deadline, true);
  view.setBigUint64(40, wanted.period, true);
  view.setUint32(48, wanted.utilMin, true);
  view.setUint32(52, wanted.utilMax, true);
  check('sched_setattr', rawSyscall(SYS.sched_setattr, tid, address, 0), {
    doing: 'set the scheduling policy',
    pid: tid,
  });
}

const MAX_CPU_MASK_SIZE = 1024;

/** The allowed CPUs as a bit mask, trailing zero bytes removed. */
export function getAffinity(tid: Tid): Buffer {
  newCall();
  const mask = scratch(MAX_CPU_MASK_SIZE);
  const size = rawSyscall(SYS.sched_getaffinity, tid, MAX_CPU_MASK_SIZE, mask.address);
  check('sched_getaffinity', size, { doing: 'read the CPU affinity', pid: tid });
  let end = size;
  while (end > 0 && mask.bytes[end - 1] === 0) end--;
  return Buffer.from(mask.bytes.subarray(0, end));
}

export function setAffinity(tid: Tid, wanted: Uint8Array): void {
  newCall();
  const mask = scratch((wanted.length + 7) & ~7);
  mask.bytes.set(wanted);
  check('sched_setaffinity', rawSyscall(SYS.sched_setaffinity, tid, mask.bytes.length, mask.address), {
    doing: 'set the CPU affinity',
    pid: tid,
  });
}

const PRIO_PROCESS = 0;

/** The nice value, -20 to 19, whatever the policy is. The kernel's answer is 20 less the value (getpriority(2)). */
export function getNice(tid: Tid): number {
  const result = rawSyscall(SYS.getpriority, PRIO_PROCESS, tid);
  return 20 - check('getpriority', result, { doing: 'read the nice value', pid: tid });
}

export function setNice(tid: Tid, nice: number): void {
  check('setpriority', rawSyscall(SYS.setpriority, PRIO_PROCESS, tid, nice), { doing: 'set the nice value', pid: tid });
}

/** get_robust_list(2): address and length of the head; address 0 when there is none. */
export function getRobustList(tid: Tid): { address: number; sizeBytes: number } {
  newCall();
  const out = scratch(16);
  const result = rawSyscall(SYS.get_robust_list, tid, out.address, out.address + 8);
  check('get_robust_list', result, { doing: 'read the robust futex list', pid: tid });
  return {
    address: Number(out.view.getBigUint64(0, true)),
    sizeBytes: Number(out.view.getBigUint64(8, true)),
  };
}

const IOPRIO_WHO_PROCESS = 1;

/** ioprio_get(2): class in bits 13-15, priority below; 0 means that it follows the nice value. */
export function getIoPriority(tid: Tid): number {
  const result = rawSyscall(SYS.ioprio_get, IOPRIO_WHO_PROCESS, tid);
  return check('ioprio_get', result, { doing: 'read the I/O priority', pid: tid });
}

export function setIoPriority(tid: Tid, priority: number): void {
  check('ioprio_set', rawSyscall(SYS.ioprio_set, IOPRIO_WHO_PROCESS, tid, priority), {
    doing: 'set the I/O priority',
    pid: tid,
  });
}

/** kill(2); false if there is no such process. */
export function sendSignal(pid: Pid, signal: number): boolean {
  return rawSyscall(SYS.kill, pid, signal) === 0;
}
