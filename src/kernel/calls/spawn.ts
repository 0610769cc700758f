/**
 * A new process with a chosen pid. clone3(2) with `set_tid` (Linux 5.5; CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN) as vfork
 * does it: the child borrows our memory until it has executed another program, so nothing of the engine runs in it. That
 * needs machine code, because the child must not return into JavaScript.
 */
import { asPid, type LocalFd, type Pid } from '../../support/brand.ts';
import { passFaultPoint } from '../../support/fault-point.ts';
import { PERSONALITY } from '../abi/personality.ts';
import { CLONE } from '../abi/sched.ts';
import { SIGNAL } from '../abi/signal.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { callable, rawSyscall, type Thunk } from '../ffi.ts';
import { cString, newCall, scratch } from '../scratch.ts';

const CLONE_ARGS_SIZE = 88;
const ALL_SIGNALS = 0xffffffffffffffffn;

/*
 * mov r9,rcx; mov eax,435 (clone3); syscall; test rax,rax; jnz out
 * child: mov rdi,rdx; mov rsi,r9; mov rdx,r8; mov eax,59 (execve); syscall; mov edi,127; mov eax,231; syscall
 * out: ret
 *
 * The child shares our stack and returns from nothing; rdx, r8 and r9 survive the system call.
 */
const cloneAndExecute = Buffer.from(
  '4989c9b8b30100000f054885c0751c4889d74c89ce4c89c2b83b0000000f05bf7f000000b8e70000000f05c3',
  'hex',
);

let thunk: Thunk | undefined;

export interface SpawnOptions {
  /** Default: the next free one. */
  readonly pid?: Pid;
  /** A child of our parent instead of our own (CLONE_PARENT). */
  readonly asSibling?: boolean;
  /** Those bits of personality(2) that execve(2) lays the process out by, whatever our own are. Default: none. */
  readonly layoutBits?: number;
  /** argv. Default: none. */
  readonly args?: readonly string[];
}

const LAYOUT_BITS = PERSONALITY.ADDR_COMPAT_LAYOUT | PERSONALITY.ADDR_LIMIT_3GB;
const ASK_PERSONALITY = 0xffffffff;

/**
 * Starts the program in `executable` (a descriptor). Its signal mask is full: whoever takes it over sets the real one.
 * Throws KernelError EEXIST when the pid is taken, EPERM without the capability.
 */
export function spawnProgram(
  executable: LocalFd,
  { pid, asSibling = false, layoutBits = 0, args: argv = [] }: SpawnOptions = {},
): Pid {
  thunk ??= callable(cloneAndExecute);
  newCall();
  const path = cString(`/proc/self/fd/${executable}`);
  const words = argv.length === 0 ? [path.address] : argv.map((word) => cString(word).address);
  // argv, its NULL, and the NULL of an empty environment.
  const pointers = scratch((words.length + 2) * 8);
  words.forEach((address, index) => {
    pointers.view.setBigUint64(index * 8, BigInt(address), true);
  });
  const environment = pointers.address + (words.length + 1) * 8;
  const tids = scratch(4);
  tids.view.setInt32(0, pid ?? 0, true);
  const args = scratch(CLONE_ARGS_SIZE);
  args.view.setBigUint64(0, BigInt(CLONE.CLONE_VM | CLONE.CLONE_VFORK | (asSibling ? CLONE.CLONE_PARENT : 0)), true);
  // A sibling tells of its end with the signal that we tell of ours with.
  args.view.setBigUint64(32, BigInt(asSibling ? 0 : SIGNAL.SIGCHLD), true);
  if (pid !== undefined) {
    args.view.setBigUint64(64, BigInt(tids.address), true);
    args.view.setBigUint64(72, 1n, true);
  }
  const masks = scratch(16);
  masks.view.setBigUint64(0, ALL_SIGNALS, true);
  const own = rawSyscall(SYS.personality, ASK_PERSONALITY);
  rawSyscall(SYS.personality, ((own & ~LAYOUT_BITS) | layoutBits) >>> 0);
  // A handler must not run in the child while it shares our memory.
  rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, masks.address, masks.address + 8, 8);
  const result =
    passFaultPoint('clone3') ??
    Number(thunk(args.address, CLONE_ARGS_SIZE, path.address, pointers.address, environment, 0, 0));
  rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, masks.address + 8, 0, 8);
  rawSyscall(SYS.personality, own);
  return asPid(
    check('clone3', result, { doing: pid === undefined ? 'make a process' : `make a process with pid ${pid}` }),
  );
}
