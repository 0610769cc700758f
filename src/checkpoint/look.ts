/**
 * A process tree that stands still to be looked at, and goes on as if nothing had been. Nothing in it is changed: its registers stay what
 * they are, and if we die it goes on.
 */
import { readRegister, registerNames } from '../arch/x86/registers.ts';
import { is32BitProgram } from '../procfs/exe.ts';
import { type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { readStat } from '../procfs/stat.ts';
import { commOf, speakerOf } from '../procfs/tasks.ts';
import { asPid, type Pid, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readRemote } from '../tracee/remote-memory.ts';
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
  /** The leader first, unless it has ended before the others. */
  readonly threads: readonly StillThread[];
  readonly mappings: readonly StillMapping[];
}

export class StillTree {
  readonly #frozen: readonly FrozenProcess[];
  #isStill = true;
  /** The root first, every other behind its parent. */
  readonly processes: readonly StillProcess[];

  constructor(root: Pid) {
    refuseUnsavable(root);
    this.#frozen = freezeTree(root, (pid) => pid === process.pid).processes;
    try {
      this.processes = this.#frozen.map((one) => describe(one, one.pid === root ? undefined : readStat(one.pid).ppid));
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
    return readRemote(speakerOf(asPid(pid)), remoteAddress(address), sizeBytes);
  }

  release(): void {
    if (!this.#isStill) return;
    this.#isStill = false;
    for (const one of this.#frozen) letGo(one);
  }
}

function describe({ pid, tasks }: FrozenProcess, parent: Pid | undefined): StillProcess {
  const speaker = speakerOf(pid);
  return {
    pid,
    ...(parent === undefined ? {} : { parent }),
    comm: commOf(pid),
    addressBits: is32BitProgram(speaker) ? 32 : 64,
    threads: tasks.map(({ tid, registers, signalMask }) => ({
      tid,
      registers: Object.fromEntries(registerNames.map((name) => [name, hex(readRegister(registers, name))])),
      signalMask: hex(signalMask),
    })),
    mappings: readMaps(speaker).map(describeMapping),
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
