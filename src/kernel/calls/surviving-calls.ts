/**
 * A list of system calls that runs to its end although we are killed in the middle: what must be put back on an object that others
 * use is changed and put back in one list. A child that shares memory and descriptors makes the calls (vfork(2) without an
 * execve(2)), in a session of its own; it holds what it uses by itself when we are gone. Nothing of the engine runs in it.
 */
import { passFaultPoint } from '../../support/fault-point.ts';
import { CLONE } from '../abi/sched.ts';
import { SIGNAL } from '../abi/signal.ts';
import { SYS } from '../abi/syscall.ts';
import { WAIT } from '../abi/wait.ts';
import { check } from '../errors.ts';
import { callable, rawSyscall, type Thunk } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';

export interface SurvivingCall {
  readonly number: number;
  /** Pointers must lead into native memory that stays. */
  readonly arguments: readonly (number | bigint)[];
  /** If it fails, those behind it are not made. */
  readonly required?: boolean;
}

/*
 * mov r9,rdx; mov r8,rcx; xor edx,edx; xor r10d,r10d; mov eax,56 (clone); syscall; test rax,rax; jnz out
 * child: mov r12,r9; mov r13,r8; mov eax,112 (setsid); syscall
 * next: the call at r12, its result behind it; on to the next unless it has failed and was required
 * done: xor edi,edi; mov eax,231; syscall
 * out: ret
 */
const cloneAndCall = Buffer.from(
  '4989d14989c831d24531d2b8380000000f054885c0755d4d89cc4d89c5b8700000000f054d85ed7442498b0424498b7c2408498b742410498b5424184d8b5424204d8b4424284d8b4c24300f05498944243849837c2440007408483d00f0ffff77094983c44849ffcdebb931ffb8e70000000f05c3',
  'hex',
);

const CALL_SIZE = 72;
const RESULT_AT = 56;
const REQUIRED_AT = 64;
const STACK_SIZE = 4096;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
/** What no system call answers. */
const NOT_MADE = -(2n ** 63n);

let thunk: Thunk | undefined;

/** The answers, negative errnos included; undefined for calls that were not made. */
export function runToTheEnd(calls: readonly SurvivingCall[]): (number | undefined)[] {
  thunk ??= callable(cloneAndCall);
  const listSize = calls.length * CALL_SIZE;
  const memory = NativeMemory.allocate(listSize + 64 + STACK_SIZE);
  try {
    calls.forEach((call, index) => {
      const at = index * CALL_SIZE;
      memory.view.setBigUint64(at, BigInt(call.number), true);
      call.arguments.forEach((argument, position) => {
        memory.view.setBigInt64(at + 8 + position * 8, BigInt(argument), true);
      });
      memory.view.setBigInt64(at + RESULT_AT, NOT_MADE, true);
      memory.view.setBigUint64(at + REQUIRED_AT, call.required === true ? 1n : 0n, true);
    });
    const masks = listSize;
    memory.view.setBigUint64(masks, ALL_SIGNALS, true);
    const maskAddress = memory.address + masks;
    const flags = CLONE.CLONE_VM | CLONE.CLONE_FILES | CLONE.CLONE_VFORK;
    rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, maskAddress, maskAddress + 8, 8);
    const child =
      passFaultPoint('clone') ?? Number(thunk(flags, stackTop(memory), memory.address, calls.length, 0, 0, 0));
    rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, maskAddress + 8, 0, 8);
    check('clone', child, { doing: 'make a process that calls the kernel for us' });
    rawSyscall(SYS.wait4, child, 0, WAIT.__WALL, 0);
    return calls.map((_, index) => {
      const result = memory.view.getBigInt64(index * CALL_SIZE + RESULT_AT, true);
      return result === NOT_MADE ? undefined : Number(result);
    });
  } finally {
    memory.free();
  }
}

const stackTop = (memory: NativeMemory): number => Math.floor((memory.address + memory.sizeBytes) / 16) * 16;
