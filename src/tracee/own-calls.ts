/**
 * The system calls that `machine-code.S` makes by itself in a task that outlives us, and those that bring the agent in: some of them are on
 * their way at any instant. What a seccomp filter has to let through for that.
 */
import { MAP, PROT } from '../kernel/abi/mman.ts';
import { CLONE } from '../kernel/abi/sched.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { WAIT } from '../kernel/abi/wait.ts';
import { type CallGuard, type GuardedCall, nameOf, type Treatment } from './call-guard.ts';

interface OwnCall extends GuardedCall {
  /** What may become of it without harm. */
  readonly enough: Treatment;
}

/** An argument that may be anything; so may be those that a call does not have. */
const any = undefined;

const must = (number: number, ...args: GuardedCall['args']): OwnCall => ({ number, args, enough: 'made' });
const may = (number: number, ...args: GuardedCall['args']): OwnCall => ({ number, args, enough: 'answered' });

const { PROT_READ, PROT_WRITE, PROT_EXEC } = PROT;
const MAPPED = MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_FIXED_NOREPLACE;
const { SOCK_SEQPACKET, SOCK_CLOEXEC, AF_UNIX, MSG_NOSIGNAL } = SOCKET;
const SIGNAL_SET_SIZE = 8;
/** linux/close_range.h. */
const CLOSE_RANGE_UNSHARE = 2;

/** Of any thread that makes a call for us: `go_home`. */
const ofThread = [must(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, any, 0, SIGNAL_SET_SIZE)];

/** Of the thread that the agent is in. A batch that it cannot answer, or wait for, sends it home. */
const ofAgent = [
  ...ofThread,
  must(SYS.close, any),
  must(SYS.munmap, any, any),
  may(SYS.mmap, any, any, PROT_READ | PROT_WRITE, MAPPED, any, any),
  may(SYS.mmap, any, any, PROT_READ | PROT_EXEC, MAPPED, any, any),
  may(SYS.socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, any),
  may(SYS.recvfrom, any, any, 1, 0, 0, 0),
  may(SYS.sendto, any, any, 1, MSG_NOSIGNAL, 0, 0),
];

/** Of the thread that makes a snapshot, and of the process between. */
const ofSnapshot = [
  may(SYS.clone, CLONE.CLONE_VM | CLONE.CLONE_VFORK | CLONE.CLONE_FS | CLONE.CLONE_FILES, 0, 0, 0, 0),
  must(SYS.wait4, any, 0, WAIT.__WALL, 0),
  must(SYS.exit, 0),
  must(SYS.exit_group, 1),
  may(SYS.setsid),
  may(SYS.close_range, 0, 0xffff_ffff, CLOSE_RANGE_UNSHARE),
  may(SYS.clone, CLONE.CLONE_FS | CLONE.CLONE_FILES, 0, 0, 0, 0),
];

/** The names of those that this guard does not let through as far as they need it. */
const forbidden = (guard: CallGuard, calls: readonly OwnCall[]): string[] =>
  calls.filter((call) => !isEnough(guard.treatmentOf(call), call.enough)).map(nameOf);

const isEnough = (treatment: Treatment, enough: Treatment): boolean => treatment === 'made' || treatment === enough;

export const forbiddenToThread = (guard: CallGuard): string[] => forbidden(guard, ofThread);
export const forbiddenToAgent = (guard: CallGuard): string[] => forbidden(guard, ofAgent);
export const forbiddenToSnapshot = (guard: CallGuard): string[] => forbidden(guard, ofSnapshot);
