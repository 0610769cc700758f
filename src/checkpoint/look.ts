/**
 * A process tree that stands still to be looked at, and goes on as if nothing had been. Nothing in it is changed: its registers stay what
 * they are, and if we die it goes on.
 */
import { readRegister, registerNames } from '../arch/x86/registers.ts';
import { detachIfAlive } from '../kernel/calls/ptrace.ts';
import { KernelError } from '../kernel/errors.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { unlessMissing } from '../procfs/proc-file.ts';
import { type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { readStat } from '../procfs/stat.ts';
import { childrenOf, commOf } from '../procfs/tasks.ts';
import { asPid, type Pid, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { type FrozenProcess, freezeProcess } from './freeze.ts';
import { refuseUnsavable } from './process-view.ts';

export interface StillThread {
  readonly tid: number;
  /** By name, as "0x…". */
  readonly registers: Readonly<Record<string, string>>;
  readonly signalMask: string;
}

export interface StillMapping {
  readonly start: number;
  readonly end: number;
  /** `rw-` */
  readonly permissions: string;
  readonly shared: boolean;
  readonly offset: number;
  /** A path, `[heap]` and the like, or ''. */
  readonly name: string;
}

export interface StillProcess {
  readonly pid: number;
  /** Missing for the root of the tree. */
  readonly parent?: number;
  readonly comm: string;
  readonly addressBits: 32 | 64;
  /** The leader first. */
  readonly threads: readonly StillThread[];
  readonly mappings: readonly StillMapping[];
}

export class StillTree {
  readonly #frozen: FrozenProcess[] = [];
  readonly processes: StillProcess[] = [];

  /** Parents before their children: what stands still begets nobody. On failure everything goes on. */
  constructor(root: Pid) {
    refuseUnsavable(root);
    try {
      this.#freeze(root, undefined);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #freeze(pid: Pid, parent: Pid | undefined): void {
    const frozen = freezeProcess(pid);
    this.#frozen.push(frozen);
    this.processes.push(describe(frozen, parent));
    for (const child of unlessMissing(() => childrenOf(pid)) ?? []) {
      // One that has ended and is not reaped yet has nothing to look at.
      if (!['Z', 'X', undefined].includes(unlessMissing(() => readStat(child))?.state)) this.#freeze(child, pid);
    }
  }

  /** Throws KernelError where there is no memory. */
  read(pid: number, address: number, sizeBytes: number): Buffer {
    if (!this.processes.some((process) => process.pid === pid)) {
      throw new QuicksaveError('no-such-process', `Process ${pid} is not in the tree that stands still.`);
    }
    return readRemote(asPid(pid), remoteAddress(address), sizeBytes);
  }

  release(): void {
    for (const { tasks } of this.#frozen.splice(0)) for (const task of tasks) letGo(task);
  }
}

/** Its own registers again, as after a save: a call that answers EINTR to any stop starts again instead (freeze.ts). */
function letGo(task: StoppedTask): void {
  try {
    task.returnHome();
  } catch (error) {
    // Killed meanwhile.
    if (!(error instanceof KernelError)) throw error;
  }
  detachIfAlive(task.tid);
}

function describe({ pid, tasks }: FrozenProcess, parent: Pid | undefined): StillProcess {
  return {
    pid,
    ...(parent === undefined ? {} : { parent }),
    comm: commOf(pid),
    addressBits: is32BitProgram(pid) ? 32 : 64,
    threads: tasks.map(({ tid, registers, signalMask }) => ({
      tid,
      registers: Object.fromEntries(registerNames.map((name) => [name, hex(readRegister(registers, name))])),
      signalMask: hex(signalMask),
    })),
    mappings: readMaps(pid).map(describeMapping),
  };
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

const describeMapping = ({
  start,
  end,
  read,
  write,
  execute,
  shared,
  offset,
  path,
  special,
}: MapsEntry): StillMapping => ({
  start,
  end,
  permissions: `${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}`,
  shared,
  offset: Number(offset),
  name: special ?? path,
});
