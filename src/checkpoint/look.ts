/**
 * A process tree that stands still to be looked at, and goes on as if nothing had been. Nothing in it is changed: its registers stay what
 * they are, and if we die it goes on.
 */
import { readRegister, registerNames } from '../arch/x86/registers.ts';
import { KernelError } from '../kernel/errors.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { readStat } from '../procfs/stat.ts';
import { commOf } from '../procfs/tasks.ts';
import { asPid, type Pid, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import { type FrozenProcess, freezeTree, letGo } from './freeze.ts';
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
  readonly #frozen: readonly FrozenProcess[];
  /** Parents before their children. */
  readonly processes: readonly StillProcess[];

  /** On failure everything goes on. */
  constructor(root: Pid) {
    refuseUnsavable(root);
    this.#frozen = freezeTree(root, () => false).processes;
    try {
      this.processes = this.#frozen.map((frozen) =>
        describe(frozen, frozen.pid === root ? undefined : readStat(frozen.pid).ppid),
      );
    } catch (error) {
      this.release();
      throw error;
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
    for (const frozen of this.#frozen) {
      for (const task of frozen.tasks) giveRegisters(task);
      letGo(frozen);
    }
  }
}

/** Its own again, as after a save: a call that answers EINTR to any stop starts again instead (freeze.ts). */
function giveRegisters(task: StoppedTask): void {
  try {
    task.returnHome();
  } catch (error) {
    // Killed meanwhile.
    if (!(error instanceof KernelError)) throw error;
  }
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
