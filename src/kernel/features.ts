/**
 * What this kernel can do, and what it lets us do: each thing is tried on ourselves or on a child of ours, never guessed from
 * a version. What follows from an answer is for the caller to say.
 */
import { closeSync, openSync } from 'node:fs';
import {
  asTid,
  type LocalAddress,
  type LocalFd,
  localFd,
  type Pid,
  type RemoteAddress,
  type RemoteFd,
  remoteFd,
  type Tid,
} from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { errnoName, errnoSentence } from './abi/errno.ts';
import { OPEN } from './abi/fcntl.ts';
import { FS } from './abi/fs.ts';
import { MADV, MAP, PROT } from './abi/mman.ts';
import { PR } from './abi/prctl.ts';
import { PTRACE } from './abi/ptrace.ts';
import { SIGNAL } from './abi/signal.ts';
import { SYS } from './abi/syscall.ts';
import { UFFD } from './abi/userfaultfd.ts';
import { compareDescriptions, duplicateFrom, openFile, tryOpenPidfd } from './calls/descriptors.ts';
import { tryScanPages } from './calls/pagemap.ts';
import { readMemory } from './calls/process-memory.ts';
import { getRseqConfiguration, getSyscallUserDispatch, peekSignals } from './calls/ptrace.ts';
import { spawnProgram } from './calls/spawn.ts';
import { sendSignal } from './calls/task-attributes.ts';
import { waitForEnd } from './calls/wait.ts';
import { isFailure } from './errors.ts';
import { rawSyscall } from './ffi.ts';
import { NativeMemory } from './native-memory.ts';
import { newCall, scratch } from './scratch.ts';

/** `why` is a clause: what the kernel answered. */
export type Probe = { readonly available: true } | { readonly available: false; readonly why: string };

const PAGE = 4096;
const yes: Probe = { available: true };
const no = (why: string): Probe => ({ available: false, why });

const byResult = (result: number): Probe =>
  isFailure(result) ? no(`${errnoSentence(-result)} (${errnoName(-result)})`) : yes;

/** What `use` throws is the answer. */
export function probe(use: () => unknown): Probe {
  try {
    return use() === undefined ? no('the kernel does not know it') : yes;
  } catch (error) {
    if (error instanceof QuicksaveError) return no(error.message.replace(/\.$/, ''));
    // What node:fs throws has the errno of its call, negative.
    const { errno } = error as NodeJS.ErrnoException;
    if (errno !== undefined && isFailure(errno)) return byResult(errno);
    return no(error instanceof Error ? error.message : String(error));
  }
}

const asked = (use: () => unknown): Probe =>
  probe(() => {
    use();
    return true;
  });

// ------------------------------------------------------------------------------------------------ on a child of ours

/** clone3(2) with `set_tid`: a number that was free a moment ago is asked for again. `executable` must run until killed. */
export function probeChosenPid(executable: LocalFd): Probe {
  return asked(() => {
    const pid = spawnProgram(executable);
    endChild(pid);
    endChild(spawnProgram(executable, { pid }));
  });
}

/** Kills and reaps a child of ours. */
export function endChild(pid: Pid): void {
  sendSignal(pid, SIGNAL.SIGKILL);
  waitForEnd(asTid(pid));
}

/** pidfd_getfd(2), with an open descriptor of a child. */
export function probeDescriptorCopy(pid: Pid, fd: RemoteFd): Probe {
  return asked(() => {
    const pidfd = tryOpenPidfd(pid);
    try {
      if (pidfd !== undefined) duplicateFrom(pidfd.number, fd, pid).close();
    } finally {
      pidfd?.close();
    }
  });
}

/** process_vm_readv(2). */
export function probeRemoteRead(pid: Pid, address: RemoteAddress): Probe {
  return asked(() => {
    const memory = NativeMemory.allocate(PAGE);
    try {
      readMemory(pid, memory.address, [{ start: address, sizeBytes: 64 }]);
    } finally {
      memory.free();
    }
  });
}

/** PTRACE_GET_RSEQ_CONFIGURATION on a stopped child. */
export const probeRseq = (tid: Tid): Probe => probe(() => getRseqConfiguration(tid));

/** PTRACE_PEEKSIGINFO on a stopped child. */
export const probePendingSignals = (tid: Tid): Probe => probe(() => peekSignals(tid, 'shared'));

/** PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG on a stopped child. */
export const probeUserDispatch = (tid: Tid): Probe => probe(() => getSyscallUserDispatch(tid));

/** PTRACE_SECCOMP_GET_FILTER on a stopped child that has a filter. */
export const probeSeccompFilter = (tid: Tid): Probe =>
  byResult(rawSyscall(SYS.ptrace, PTRACE.PTRACE_SECCOMP_GET_FILTER, tid, 0, 0));

// ------------------------------------------------------------------------------------------------------ on ourselves

/** ioctl PAGEMAP_SCAN. */
export function probePagemapScan(): Probe {
  return probe(() => {
    const memory = NativeMemory.allocate(PAGE, { populate: true });
    try {
      return withPagemap((fd) =>
        tryScanPages(fd, memory.address, memory.address + PAGE, {
          all: 0,
          any: FS.PAGE_IS_PRESENT,
          inverted: 0,
          tell: 0,
        }),
      );
    } finally {
      memory.free();
    }
  });
}

function withPagemap<T>(use: (pagemap: LocalFd) => T): T {
  const fd = openSync('/proc/self/pagemap', 'r');
  try {
    return use(localFd(fd));
  } finally {
    closeSync(fd);
  }
}

/** kcmp(2), CONFIG_KCMP. */
export const probeKcmp = (ownPid: Pid): Probe =>
  asked(() => compareDescriptions(ownPid, remoteFd(0), ownPid, remoteFd(0)));

const MM_MAP_SIZE = 104;

/** PR_SET_MM_MAP of prctl(2), CONFIG_CHECKPOINT_RESTORE: asked for the size of its argument. */
export function probeMemoryMapFields(): Probe {
  newCall();
  const size = scratch(8);
  const result = rawSyscall(SYS.prctl, PR.PR_SET_MM, PR.PR_SET_MM_MAP_SIZE, size.address, 0, 0);
  const found = size.view.getUint32(0, true);
  if (isFailure(result) || found === MM_MAP_SIZE) return byResult(result);
  return no(`its argument has ${found} bytes here, not ${MM_MAP_SIZE}`);
}

/** PR_GET_TID_ADDRESS of prctl(2), CONFIG_CHECKPOINT_RESTORE. */
export function probeTidAddress(): Probe {
  newCall();
  return byResult(rawSyscall(SYS.prctl, PR.PR_GET_TID_ADDRESS, scratch(8).address));
}

/** PR_SET_VMA_ANON_NAME of prctl(2), CONFIG_ANON_VMA_NAME. */
export function probeMemoryNames(): Probe {
  const memory = NativeMemory.allocate(PAGE);
  try {
    newCall();
    const name = scratch(16);
    name.bytes.write('quicksave');
    const { PR_SET_VMA, PR_SET_VMA_ANON_NAME } = PR;
    return byResult(rawSyscall(SYS.prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory.address, PAGE, name.address));
  } finally {
    memory.free();
  }
}

/** MADV_GUARD_INSTALL of madvise(2), Linux 6.13. */
export const probeGuardPages = (): Probe =>
  withPage((address) => byResult(rawSyscall(SYS.madvise, address, PAGE, MADV.MADV_GUARD_INSTALL)));

/** mseal(2), Linux 6.10, of nothing. */
export const probeSealing = (): Probe => withPage((address) => byResult(rawSyscall(SYS.mseal, address, 0, 0)));

/** MAP_DROPPABLE of mmap(2), Linux 6.11. */
export function probeDroppableMemory(): Probe {
  const flags = MAP.MAP_DROPPABLE | MAP.MAP_ANONYMOUS;
  const address = rawSyscall(SYS.mmap, 0, PAGE, PROT.PROT_READ, flags, -1, 0);
  if (!isFailure(address)) rawSyscall(SYS.munmap, address, PAGE);
  return byResult(isFailure(address) ? address : 0);
}

function withPage(probe: (address: LocalAddress) => Probe): Probe {
  const memory = NativeMemory.allocate(PAGE);
  try {
    return probe(memory.address);
  } finally {
    memory.free();
  }
}

/** O_TMPFILE of open(2), which is up to the file system. */
export const probeUnnamedFiles = (folder: string): Probe =>
  asked(() => openFile(folder, OPEN.O_TMPFILE | OPEN.O_RDWR, 0o600).close());

/** userfaultfd(2) with asynchronous write protection (Linux 6.7). */
export function probeWriteProtection(): Probe {
  const fd = rawSyscall(SYS.userfaultfd, OPEN.O_CLOEXEC | UFFD.UFFD_USER_MODE_ONLY);
  if (isFailure(fd)) return byResult(fd);
  newCall();
  const api = scratch(24);
  api.view.setBigUint64(0, BigInt(UFFD.UFFD_API), true);
  api.view.setBigUint64(8, BigInt(UFFD.UFFD_FEATURE_WP_ASYNC | UFFD.UFFD_FEATURE_WP_UNPOPULATED), true);
  const result = rawSyscall(SYS.ioctl, fd, UFFD.UFFDIO_API, api.address);
  rawSyscall(SYS.close, fd);
  return byResult(result);
}

const SOFT_DIRTY = 1n << 55n;

/** The soft-dirty bit of /proc/PID/pagemap: a page that was just written has it, where the kernel has it at all. */
export function probeSoftDirty(): Probe {
  const memory = NativeMemory.allocate(PAGE);
  try {
    memory.bytes[0] = 1;
    const entry = withPagemap((fd) => readWord(fd, (memory.address / PAGE) * 8));
    return (entry & SOFT_DIRTY) === 0n ? no('a page that was just written is not marked') : yes;
  } finally {
    memory.free();
  }
}

function readWord(fd: LocalFd, position: number): bigint {
  newCall();
  const word = scratch(8);
  const count = rawSyscall(SYS.pread64, fd, word.address, 8, position);
  return count === 8 ? word.view.getBigUint64(0, true) : 0n;
}
