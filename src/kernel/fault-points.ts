/**
 * Which calls are fault points, and how each fails: our own system calls, those of node:fs, and by their names those that are made inside
 * targets (tracee/). Calls that only look are no points, but where they need a descriptor or memory of the kernel.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { areFaultPointsOn, passFaultPoint, startFaultWalk } from '../support/fault-point.ts';
import { ERRNO } from './abi/errno.ts';
import { SYS, syscallName } from './abi/syscall.ts';
import { interceptSyscalls } from './ffi.ts';
import { ptraceRequestName } from './traced-calls.ts';

/** `fail:12`, `kill:12`, `stop:12`; `fail:2:fsyncSync`: the second of that name; of the threads that move pages: `worker-fail:3`, `worker-kill:3`. */
const ORDER = /^(worker-)?(fail|kill|stop):(\d{1,9})(?::(\w+))?$/;

/** Starts what QUICKSAVE_FAULT asks for, if that is meant for this thread; anything else is no order. */
export function startFaultPoints(order: string | undefined): void {
  const [, worker, action, at, only] = ORDER.exec(order ?? '') ?? [];
  const isAction = action === 'fail' || action === 'kill' || action === 'stop';
  if (!isAction || (worker === undefined) !== isMainThread) return;
  if (!areFaultPointsOn()) interceptCalls();
  startFaultWalk({ action, at: Number(at), only, errnoOf: (name) => failures.get(name) });
}

function interceptCalls(): void {
  interceptSyscalls((number, args) => {
    const name = number === SYS.ptrace ? (ptraceRequestName(Number(args[0])) ?? 'ptrace') : syscallName(number);
    return waits.has(name) ? undefined : passFaultPoint(name);
  });
  for (const name of FILE_CALLS) interceptFileCall(name);
  syncBuiltinESMExports();
}

/** How often these are made depends on how fast others are. */
const waits: ReadonlySet<string> = new Set(['poll', 'wait4', 'waitid', 'recvfrom', 'recvmsg', 'clock_gettime', 'read']);

/**
 * For lack of room, of descriptors or of rights (ERRORS of the man pages). Not in it are calls that cannot fail so on what is ours: close,
 * munmap of a whole mapping, kill of a child, and requests of ptrace to a task that stands still.
 */
const namesByErrno: Readonly<Partial<Record<keyof typeof ERRNO, string>>> = {
  ENOMEM:
    'mmap mremap mprotect madvise mlock2 mlockall mbind set_mempolicy shmat modify_ldt execve getsockopt ioctl tee ' +
    'process_vm_readv process_vm_writev PTRACE_GETREGSET PTRACE_SETREGSET',
  EMFILE:
    'openat socket socketpair pipe2 eventfd2 epoll_create1 timerfd_create signalfd4 inotify_init1 memfd_create userfaultfd pidfd_open ' +
    'pidfd_getfd accept4 dup3 openSync',
  EAGAIN: 'clone clone3 timer_create rt_sigqueueinfo rt_tgsigqueueinfo',
  ENOSPC:
    'write writev pwritev ftruncate fallocate linkat mknodat shmget pkey_alloc inotify_add_watch epoll_ctl PTRACE_POKEUSER renameSync ' +
    'writeFileSync mkdirSync',
  EIO: 'pread64 fsyncSync fdatasyncSync PTRACE_PEEKDATA PTRACE_POKEDATA',
  EPERM:
    'PTRACE_SEIZE kcmp prctl arch_prctl setpgid setsid setresuid setresgid setgroups capset setsockopt shmctl sched_setattr ' +
    'sched_setaffinity setpriority ioprio_set fchmod fchown prlimit64 open_by_handle_at chmodSync chownSync lchownSync',
  EACCES: 'chdir pkey_mprotect unlinkSync rmSync rmdirSync',
  ENOBUFS: 'sendto sendmsg getsockname getpeername',
  ENOLCK: 'fcntl flock',
  EADDRINUSE: 'bind listen',
  ECONNREFUSED: 'connect',
};

const failures: ReadonlyMap<string, number> = new Map(
  Object.entries(namesByErrno).flatMap(([errno, names]) =>
    names.split(' ').map((name) => [name, ERRNO[errno as keyof typeof ERRNO]] as const),
  ),
);

const FILE_CALLS = [
  'openSync',
  'fsyncSync',
  'fdatasyncSync',
  'renameSync',
  'writeFileSync',
  'mkdirSync',
  'chmodSync',
  'chownSync',
  'lchownSync',
  'unlinkSync',
  'rmSync',
  'rmdirSync',
] as const;

/** What imports node:fs by name sees it too (syncBuiltinESMExports). */
function interceptFileCall(name: (typeof FILE_CALLS)[number]): void {
  const functions = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  const original = functions[name];
  if (original === undefined) throw new Error(`node:fs has no ${name}`);
  functions[name] = (...args) => {
    const result = passFaultPoint(name);
    if (result === undefined) return original(...args);
    const code = getSystemErrorName(result);
    throw Object.assign(new Error(`${code}: ${name}`), { code, errno: result, syscall: name });
  };
}
