/**
 * Tracking between saves: which pages a program has written since an image of it was made. The write protection lasts as long as somebody has the
 * userfaultfd open, and that is a keeper: a process of one page, which ends with the program. Its command line says whose it is and since which
 * image. In the program there is nothing but the flag `uw` of its mappings (proc_pid_smaps(5)).
 *
 * A mark on a page that was not written is only believed where the mapping has the flag: moved memory loses the flag, but not on every kernel
 * the marks of its pages.
 */
import { readFileSync, statSync } from 'node:fs';
import { keeperProgram } from '../arch/x86/keeper-elf.ts';
import { FCNTL } from '../kernel/abi/fcntl.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { UFFD } from '../kernel/abi/userfaultfd.ts';
import {
  duplicateFrom,
  executableFromBytes,
  fcntl,
  openFile,
  tryOpenPidfd,
  waitReadable,
} from '../kernel/calls/descriptors.ts';
import { protectWritten } from '../kernel/calls/pagemap.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { tryRegister } from '../kernel/calls/userfaultfd.ts';
import { OwnedFd } from '../kernel/owned-fd.ts';
import { listDescriptors } from '../procfs/descriptors.ts';
import { listProcesses, readProcLink, unlessMissing } from '../procfs/proc-file.ts';
import type { Mapping } from '../procfs/smaps.ts';
import { localFd, type Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Agent } from '../tracee/agent.ts';
import { makeTrackingDescriptor } from '../tracee/write-tracking.ts';

const KEEPER = 'quicksave-keeper';
const LINK = `/memfd:${KEEPER} (deleted)`;

/** smaps: write protection by a userfaultfd. */
const PROTECTED = 'uw';

export const isTracked = ({ vmFlags }: Mapping): boolean => vmFlags.includes(PROTECTED);

/** As the program itself has made it. */
export const withoutTracking = (mapping: Mapping): Mapping => ({
  ...mapping,
  vmFlags: mapping.vmFlags.filter((word) => word !== PROTECTED),
});

export interface Keeper {
  readonly pid: Pid;
  /** The image since which the program's writes are tracked. */
  readonly imageId: string;
}

/** The keepers of our own user, by the process that each is for: looked for once. */
export class Keepers {
  readonly #found = new Map<number, Keeper>();

  constructor() {
    for (const pid of listProcesses()) {
      if (readLinkIfMay(pid) !== LINK) continue;
      const text = unlessMissing(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
      const [name, whose, imageId] = text?.split('\0') ?? [];
      if (name !== KEEPER || imageId === undefined || this.#found.has(Number(whose))) continue;
      if (ownerOf(pid) === process.geteuid?.()) this.#found.set(Number(whose), { pid, imageId });
    }
  }

  of(target: Pid): Keeper | undefined {
    return this.#found.get(target);
  }
}

function readLinkIfMay(pid: Pid): string | undefined {
  try {
    return readProcLink(pid, 'exe');
  } catch {
    return undefined;
  }
}

const ownerOf = (pid: Pid): number | undefined => statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;

/** Our duplicate of what a keeper keeps. Undefined if it has ended. */
function takeFromKeeper({ pid }: Keeper): OwnedFd | undefined {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) return undefined;
  try {
    const kept = listDescriptors(pid).find(({ target }) => target === 'anon_inode:[userfaultfd]');
    return kept === undefined ? undefined : duplicateFrom(pidfd.number, kept.fd, pid);
  } catch {
    return undefined;
  } finally {
    pidfd.close();
  }
}

const ENDS_WITHIN_MS = 10_000;

function endKeeper({ pid }: Keeper): void {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) return;
  try {
    sendSignal(pid, SIGNAL.SIGKILL);
    waitReadable(pidfd.number, ENDS_WITHIN_MS);
  } finally {
    pidfd.close();
  }
}

/** Descriptors of a keeper are looked for from here on: far from those that the tool has. */
const KEPT_FROM = 200;

/** Leaves a keeper with this userfaultfd behind. */
function startKeeper(target: Pid, imageId: string, uffd: OwnedFd): void {
  const pidfd = tryOpenPidfd(target);
  // It has ended meanwhile: there is nothing to be tracked.
  if (pidfd === undefined) return;
  const kept: OwnedFd[] = [];
  let executable: OwnedFd | undefined;
  try {
    const first = twoInARow(kept, uffd, pidfd);
    executable = executableFromBytes(KEEPER, keeperProgram(first));
    spawnProgram(executable.number, { args: [KEEPER, String(target), imageId] });
  } finally {
    for (const fd of [...kept, pidfd]) fd.close();
    executable?.close();
  }
}

/** Duplicates that survive execve(2), the second right behind the first; returns the number of the first. */
function twoInARow(kept: OwnedFd[], a: OwnedFd, b: OwnedFd): number {
  for (let from = KEPT_FROM; ; ) {
    const first = new OwnedFd(fcntl(a.number, FCNTL.F_DUPFD, from, 'keep a descriptor'));
    const second = new OwnedFd(fcntl(b.number, FCNTL.F_DUPFD, first.number + 1, 'keep a descriptor'));
    if (second.number === first.number + 1) {
      kept.push(first, second);
      return first.number;
    }
    from = second.number;
    first.close();
    second.close();
  }
}

/** What the save of a tree has to do with tracking: each process has a userfaultfd and a keeper of its own. */
export class Tracking {
  readonly keepers = new Keepers();
  readonly #begun = new Map<Pid, OwnedFd>();

  /**
   * While the program stands still, and after it is known what was written: the old tracking ends, because from now on its marks say
   * something else, and a new one of these mappings begins. It is only ours until {@link leave}. False if the kernel does not do it.
   */
  begin(agent: Agent, mappings: readonly Mapping[]): boolean {
    const { pid } = agent;
    const keeper = this.keepers.of(pid);
    const kept = keeper === undefined ? undefined : takeFromKeeper(keeper);
    if (kept !== undefined) this.#begun.set(pid, kept);
    this.end(pid);
    const uffd = kept ?? makeTrackingDescriptor(agent);
    if (uffd === undefined) return false;
    this.#begun.set(pid, uffd);
    protect(pid, uffd, mappings);
    return true;
  }

  end(pid: Pid): void {
    const keeper = this.keepers.of(pid);
    if (keeper !== undefined) endKeeper(keeper);
  }

  /** The image is there: tracking goes on without us, since that image. */
  leave(imageId: string): void {
    for (const [pid, uffd] of this.#begun) startKeeper(pid, imageId, uffd);
  }

  /** Without {@link leave} nothing of it is left. */
  close(): void {
    for (const uffd of this.#begun.values()) uffd.close();
    this.#begun.clear();
  }
}

function protect(pid: Pid, uffd: OwnedFd, mappings: readonly Mapping[]): void {
  const pagemap = openFile(`/proc/${pid}/pagemap`, 0);
  try {
    for (const { start, end } of mappings) {
      const isRegistered = tryRegister(uffd.number, start, end - start, UFFD.UFFDIO_REGISTER_MODE_WP);
      if (isRegistered) protectWritten(localFd(pagemap.number), start, end);
    }
  } finally {
    pagemap.close();
  }
}

/** Throws where tracking makes no sense. */
export function refuseTracking({ kill, track }: { readonly kill: boolean; readonly track: boolean }): void {
  if (!kill || !track) return;
  throw new QuicksaveError('nothing-to-track', 'What is ended by its save writes nothing any more.', {
    remedy: 'Give either --kill or --track.',
  });
}

export const describeTracking = (target: Pid, { pid, imageId }: Keeper): string =>
  `what process ${target} writes is tracked since image ${imageId}, by process ${pid}`;
