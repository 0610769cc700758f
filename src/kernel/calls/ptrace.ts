/**
 * ptrace(2), request by request. All of it belongs to one OS thread: the one that seized the task. Errors carry the tid.
 *
 * ESRCH means that the task is dead or not stopped; `xIfAlive` variants return undefined for it.
 */
import type { Pid, RemoteAddress, Tid } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { NT, PTRACE } from '../abi/ptrace.ts';
import { SECCOMP } from '../abi/seccomp.ts';
import { SYS } from '../abi/syscall.ts';
import { type CallContext, check, isFailure, KernelError } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** struct user_regs_struct of sys/user.h: 27 registers of 8 bytes. */
export const REGISTER_FILE_SIZE = 216;
/** The largest xstate that is asked for in one go; the kernel says how much it is. AMX state ends at 11,008 bytes. */
const MAX_XSTATE_SIZE = 64 * 1024;

function ptrace(request: number, tid: Tid, address: number | bigint, data: number | bigint): number {
  return rawSyscall(SYS.ptrace, request, tid, address, data);
}

function must(request: number, tid: Tid, address: number | bigint, data: number | bigint, doing: string): number {
  return check('ptrace', ptrace(request, tid, address, data), { doing, pid: tid });
}

export type SeizeOutcome = 'seized' | 'gone' | 'not-permitted';

/** Attaches without stopping. `gone`: no such task (any more), or a dead one. */
export function trySeize(tid: Tid, options: number): SeizeOutcome {
  const result = ptrace(PTRACE.PTRACE_SEIZE, tid, 0, options);
  if (result === -ERRNO.ESRCH) return 'gone';
  if (result === -ERRNO.EPERM) return 'not-permitted';
  check('ptrace', result, { doing: 'attach to a task', pid: tid });
  return 'seized';
}

export function setOptions(tid: Tid, options: number): void {
  must(PTRACE.PTRACE_SETOPTIONS, tid, 0, options, 'set the tracing options');
}

/** Asks for a stop; it is there when waitpid reports PTRACE_EVENT_STOP. False if the task is gone. */
export function interruptIfAlive(tid: Tid): boolean {
  const result = ptrace(PTRACE.PTRACE_INTERRUPT, tid, 0, 0);
  if (result === -ERRNO.ESRCH) return false;
  check('ptrace', result, { doing: 'stop a task', pid: tid });
  return true;
}

/** Lets a stopped task run, delivering `signal` if it is not 0. */
export function resume(tid: Tid, signal = 0): void {
  must(PTRACE.PTRACE_CONT, tid, 0, signal, 'let a task run');
}

/** The same. False if it is not stopped any more, because it was killed. */
export function resumeIfAlive(tid: Tid, signal = 0): boolean {
  return ptrace(PTRACE.PTRACE_CONT, tid, 0, signal) === 0;
}

/** Leaves a task of a stopped process stopped, so that SIGCONT is heard of (ptrace(2), PTRACE_LISTEN). False if it was killed. */
export function listenIfAlive(tid: Tid): boolean {
  return ptrace(PTRACE.PTRACE_LISTEN, tid, 0, 0) === 0;
}

/** Lets a stopped task run to the next entry to or return from a system call. */
export function resumeToSyscall(tid: Tid): void {
  must(PTRACE.PTRACE_SYSCALL, tid, 0, 0, 'let a task run to its next system call');
}

/** Lets go of a stopped task. False if it is gone. */
export function detachIfAlive(tid: Tid, signal = 0): boolean {
  return ptrace(PTRACE.PTRACE_DETACH, tid, 0, signal) === 0;
}

/** A copy of the register file, in the order of user_regs_struct. */
export function getRegisterFile(tid: Tid): BigUint64Array {
  newCall();
  const block = scratch(REGISTER_FILE_SIZE);
  must(PTRACE.PTRACE_GETREGS, tid, 0, block.address, 'read the registers');
  return new BigUint64Array(
    block.bytes.buffer.slice(block.bytes.byteOffset, block.bytes.byteOffset + REGISTER_FILE_SIZE),
  );
}

export function setRegisterFile(tid: Tid, file: BigUint64Array): void {
  newCall();
  const block = scratch(REGISTER_FILE_SIZE);
  for (let i = 0; i < REGISTER_FILE_SIZE / 8; i++) block.view.setBigUint64(i * 8, file[i] ?? 0n, true);
  must(PTRACE.PTRACE_SETREGS, tid, 0, block.address, 'set the registers');
}

function getRegset(tid: Tid, type: number, capacity: number, doing: string): Buffer {
  newCall();
  const data = scratch(capacity);
  const iov = iovec(data.address, capacity);
  must(PTRACE.PTRACE_GETREGSET, tid, type, iov.address, doing);
  return Buffer.from(data.bytes.subarray(0, Number(iov.view.getBigUint64(8, true))));
}

function iovec(address: number, length: number): ReturnType<typeof scratch> {
  const iov = scratch(16);
  iov.view.setBigUint64(0, BigInt(address), true);
  iov.view.setBigUint64(8, BigInt(length), true);
  return iov;
}

/** The whole XSAVE image in the uncompacted format; its size is the kernel's, never a constant. */
export function getXstate(tid: Tid): Buffer {
  return getRegset(tid, NT.NT_X86_XSTATE, MAX_XSTATE_SIZE, 'read the floating point and vector state');
}

export function setXstate(tid: Tid, image: Uint8Array): void {
  newCall();
  const data = scratch(image.length);
  data.bytes.set(image);
  const iov = iovec(data.address, image.length);
  must(PTRACE.PTRACE_SETREGSET, tid, NT.NT_X86_XSTATE, iov.address, 'set the floating point and vector state');
}

/** GDT_ENTRY_TLS_MIN of asm/segment.h on x86-64: the first of three slots. */
const FIRST_TLS_SLOT = 12;
const TLS_SLOTS = 3;
const USER_DESC_SIZE = 16;

/** `seg_not_present` of struct user_desc: how the kernel tells of an empty slot. */
const EMPTY_SLOT = 1 << 5;

/**
 * The three GDT slots for thread-local storage, as struct user_desc each (16 bytes, asm/ldt.h). A kernel without 32-bit
 * programs answers EIO: there they are empty.
 */
export function getThreadAreas(tid: Tid): Buffer {
  const areas = Buffer.alloc(TLS_SLOTS * USER_DESC_SIZE);
  for (let slot = 0; slot < TLS_SLOTS; slot++) {
    newCall();
    const area = scratch(USER_DESC_SIZE);
    const result = ptrace(PTRACE.PTRACE_GET_THREAD_AREA, tid, FIRST_TLS_SLOT + slot, area.address);
    if (result === -ERRNO.EIO) area.view.setUint32(12, EMPTY_SLOT, true);
    else check('ptrace', result, { doing: 'read the thread areas', pid: tid });
    areas.set(area.bytes, slot * USER_DESC_SIZE);
  }
  return areas;
}

/** Sets one of the three slots from a struct user_desc, whose entry number says which. */
export function setThreadArea(tid: Tid, userDesc: Uint8Array): void {
  newCall();
  const area = scratch(USER_DESC_SIZE);
  area.bytes.set(userDesc);
  const entry = area.view.getUint32(0, true);
  must(PTRACE.PTRACE_SET_THREAD_AREA, tid, entry, area.address, 'set a thread area');
}

/** True if the task has an I/O permission bitmap (ioperm(2)). */
export function hasIoPermissions(tid: Tid): boolean {
  newCall();
  const data = scratch(8192);
  const iov = iovec(data.address, 8192);
  return !isFailure(ptrace(PTRACE.PTRACE_GETREGSET, tid, NT.NT_386_IOPERM, iov.address));
}

/** The blocked signals, bit n-1 for signal n. For a task inside sigsuspend and its kin: the mask that they put back. */
export function getSignalMask(tid: Tid): bigint {
  newCall();
  const block = scratch(8);
  must(PTRACE.PTRACE_GETSIGMASK, tid, 8, block.address, 'read the signal mask');
  return block.view.getBigUint64(0, true);
}

export function setSignalMask(tid: Tid, mask: bigint): void {
  newCall();
  const block = scratch(8);
  block.view.setBigUint64(0, mask, true);
  must(PTRACE.PTRACE_SETSIGMASK, tid, 8, block.address, 'set the signal mask');
}

/** Writes code or read-only data of the target, as a debugger sets a breakpoint: a private page gets its own copy. */
export function pokeBytes(tid: Tid, address: RemoteAddress, bytes: Uint8Array): void {
  const padded = Buffer.alloc((bytes.length + 7) & ~7);
  padded.set(bytes);
  for (let offset = 0; offset < padded.length; offset += 8) {
    must(PTRACE.PTRACE_POKEDATA, tid, address + offset, padded.readBigUInt64LE(offset), 'write to the vDSO');
  }
}

export interface RseqConfiguration {
  /** Address of struct rseq, 0 when not registered. */
  readonly address: number;
  readonly sizeBytes: number;
  readonly signature: number;
  readonly flags: number;
}

/** The thread's restartable-sequences registration (Linux 5.13). Undefined where the kernel cannot tell. */
export function getRseqConfiguration(tid: Tid): RseqConfiguration | undefined {
  newCall();
  const block = scratch(24);
  const result = ptrace(PTRACE.PTRACE_GET_RSEQ_CONFIGURATION, tid, 24, block.address);
  if (result === -ERRNO.EIO || result === -ERRNO.EINVAL) return undefined;
  check('ptrace', result, { doing: 'read the rseq registration', pid: tid });
  return {
    address: Number(block.view.getBigUint64(0, true)),
    sizeBytes: block.view.getUint32(8, true),
    signature: block.view.getUint32(12, true),
    flags: block.view.getUint32(16, true),
  };
}

/** struct ptrace_syscall_info of linux/ptrace.h, as far as it is the same for all stops. */
const SYSCALL_INFO_SIZE = 24;
const SIGINFO_SIZE = 128;
const SIGINFOS_PER_CALL = 64;

/** The queued signals, oldest first, as raw siginfo_t of 128 bytes each, without taking them from the queue. */
export function peekSignals(tid: Tid, queue: 'shared' | 'own'): Buffer[] {
  const found: Buffer[] = [];
  for (;;) {
    newCall();
    const data = scratch(SIGINFO_SIZE * SIGINFOS_PER_CALL);
    const args = scratch(16);
    args.view.setBigUint64(0, BigInt(found.length), true);
    args.view.setUint32(8, queue === 'shared' ? PTRACE.PTRACE_PEEKSIGINFO_SHARED : 0, true);
    args.view.setInt32(12, SIGINFOS_PER_CALL, true);
    const count = must(PTRACE.PTRACE_PEEKSIGINFO, tid, args.address, data.address, 'read the pending signals');
    for (let i = 0; i < count; i++) {
      found.push(Buffer.from(data.bytes.subarray(i * SIGINFO_SIZE, (i + 1) * SIGINFO_SIZE)));
    }
    if (count < SIGINFOS_PER_CALL) return found;
  }
}

/** One word of struct user (sys/user.h). The raw system call stores it through `data`. */
export function peekUser(tid: Tid, offset: number): bigint {
  newCall();
  const block = scratch(8);
  must(PTRACE.PTRACE_PEEKUSER, tid, offset, block.address, 'read a debug register');
  return block.view.getBigUint64(0, true);
}

export function pokeUser(tid: Tid, offset: number, value: bigint): void {
  must(PTRACE.PTRACE_POKEUSER, tid, offset, value, 'set a debug register');
}

/** One filter of seccomp(2). */
export interface SeccompFilter {
  /** An array of struct sock_filter, as the program has given it. */
  readonly program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_LOG. */
  readonly log: boolean;
}

const SOCK_FILTER_SIZE = 8;

/**
 * The seccomp filters of a stopped task, the oldest first (index 0, whatever ptrace(2) says); none in strict mode. Undefined where they cannot be
 * told: without CAP_SYS_ADMIN in the first user namespace, for a caller that has a filter itself, on a kernel without
 * CONFIG_CHECKPOINT_RESTORE, and for a program that is not classic BPF.
 */
export function getSeccompFilters(tid: Tid): SeccompFilter[] | undefined {
  const filters: SeccompFilter[] = [];
  for (;;) {
    const { PTRACE_SECCOMP_GET_FILTER } = PTRACE;
    const length = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, filters.length, 0);
    if (length === -ERRNO.EINVAL || length === -ERRNO.ENOENT) return filters;
    if (length === -ERRNO.ESRCH) check('ptrace', length, { doing: 'read a seccomp filter', pid: tid });
    if (isFailure(length)) return undefined;
    newCall();
    const block = scratch(length * SOCK_FILTER_SIZE);
    must(PTRACE_SECCOMP_GET_FILTER, tid, filters.length, block.address, 'read a seccomp filter');
    const program = Buffer.from(block.bytes);
    filters.push({ program, log: isFilterLogged(tid, filters.length) });
  }
}

/** struct seccomp_metadata of linux/ptrace.h: the index, then the flags. */
const SECCOMP_METADATA_SIZE = 16;

function isFilterLogged(tid: Tid, index: number): boolean {
  newCall();
  const metadata = scratch(SECCOMP_METADATA_SIZE);
  metadata.view.setBigUint64(0, BigInt(index), true);
  const { PTRACE_SECCOMP_GET_METADATA } = PTRACE;
  must(PTRACE_SECCOMP_GET_METADATA, tid, SECCOMP_METADATA_SIZE, metadata.address, 'read the flags of a seccomp filter');
  return (metadata.view.getUint32(8, true) & SECCOMP.SECCOMP_FILTER_FLAG_LOG) !== 0;
}

export interface SyscallUserDispatch {
  readonly mode: number;
}

/** Syscall user dispatch (prctl(2) PR_SET_SYSCALL_USER_DISPATCH; readable since Linux 6.4). Undefined where unknown. */
export function getSyscallUserDispatch(tid: Tid): SyscallUserDispatch | undefined {
  newCall();
  const block = scratch(32);
  const result = ptrace(PTRACE.PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, 32, block.address);
  if (isFailure(result)) return undefined;
  return { mode: Number(block.view.getBigUint64(0, true)) };
}

/** How a task in a system call made it: a value of AUDIT_ARCH (Linux 5.3). Undefined where the kernel cannot tell. */
export function getCallArchitecture(tid: Tid): number | undefined {
  newCall();
  const block = scratch(SYSCALL_INFO_SIZE);
  const result = ptrace(PTRACE.PTRACE_GET_SYSCALL_INFO, tid, SYSCALL_INFO_SIZE, block.address);
  return isFailure(result) ? undefined : block.view.getUint32(4, true);
}

/** What PTRACE_GETEVENTMSG says of the last event, such as the tid of a new thread. */
export function eventMessage(tid: Tid): number {
  newCall();
  const block = scratch(8);
  must(PTRACE.PTRACE_GETEVENTMSG, tid, 0, block.address, 'read a tracing event');
  return Number(block.view.getBigUint64(0, true));
}

/** The same. Undefined if the task was killed in the meantime. */
export function tryEventMessage(tid: Tid): number | undefined {
  try {
    return eventMessage(tid);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** For messages: was this failure because the task is no longer there? */
export function isGone(error: unknown): boolean {
  return error instanceof KernelError && error.errno === ERRNO.ESRCH;
}

export type { CallContext, Pid };
