/**
 * Processes that a signal has stopped. waitpid(2) tells a parent once of each stop; whether it has done so already only the
 * parent itself can ask.
 */
import type { TaskRecord } from '../image/tree.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { WAIT } from '../kernel/abi/wait.ts';
import { readStat } from '../procfs/stat.ts';
import type { Pid } from '../support/brand.ts';
import type { CallBatch } from '../tracee/call-batch.ts';
import type { FrozenProcess } from './freeze.ts';

const SIGINFO_SIZE = 128;

export class Stops {
  readonly #stopped = new Map<Pid, 'reported' | 'unreported'>();
  readonly #children = new Map<Pid, Pid[]>();

  constructor(processes: readonly FrozenProcess[]) {
    for (const { pid, isStopped } of processes) {
      if (!isStopped) continue;
      const parent = readStat(pid).ppid;
      // Until the parent has said otherwise. That of the root is not asked: it is told anew, by whoever restarts it.
      this.#stopped.set(pid, 'unreported');
      this.#children.set(parent, [...(this.#children.get(parent) ?? []), pid]);
    }
  }

  /** Adds the calls in which a parent asks; the result reads the answers. */
  ask(parent: Pid, batch: CallBatch): () => void {
    const asked = (this.#children.get(parent) ?? []).map((pid) => {
      const info = batch.data(SIGINFO_SIZE);
      const how = WAIT.WSTOPPED | WAIT.WNOHANG | WAIT.WNOWAIT;
      batch.call('ask whether a stop was told', SYS.waitid, WAIT.P_PID, pid, info.address, how, 0);
      return { pid, info };
    });
    return () => {
      for (const { pid, info } of asked) if (info.bytes.readInt32LE(0) === 0) this.#stopped.set(pid, 'reported');
    };
  }

  of(pid: Pid): Pick<TaskRecord, 'stopped'> {
    const stopped = this.#stopped.get(pid);
    return stopped === undefined ? {} : { stopped };
  }
}
