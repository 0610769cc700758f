/**
 * A restart by a user who may not choose pids: the command runs again as the first process of a user, pid and mount namespace of its own, where
 * it may: user_namespaces(7), pid_namespaces(7). unshare(1) and setpriv(1) of util-linux make it, because unshare(2) refuses a process with threads.
 * This side stays outside: signals go in, the pid that counts outside and the end of the program come out.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { readOverflowUid, unlessMissing } from '../procfs/proc-file.ts';
import { readStat } from '../procfs/stat.ts';
import { readStatus } from '../procfs/status.ts';
import { childrenOf } from '../procfs/tasks.ts';
import { INTO_OWN_NAMESPACE, whyNoOwnNamespace } from '../resources/own-namespace.ts';
import { mayChoosePids } from '../resources/pid-choice.ts';
import { asPid, type Pid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { OUTSIDE_STATUS } from '../support/outside-status.ts';
import { type End, forwarded } from './accompany.ts';
import { isInOwnNamespace, REPORT_FD, type Report } from './inside-namespace.ts';
import type { RestartSummary } from './restart.ts';

export const needsOwnNamespace = (): boolean => !isInOwnNamespace() && !mayChoosePids(readStatus(asPid(process.pid)));

export interface OutsideView {
  /** With the pid that counts outside; the program waits for nothing, but what throws here ends it. */
  readonly onRunning?: (summary: RestartSummary) => void;
  /** Return when it runs. */
  readonly detach: boolean;
  /** Take images of others, and with the user whom all strangers look like in a user namespace they cannot be told. */
  readonly trust: boolean;
}

/**
 * Runs this command again in there. How the program has ended; undefined if it goes on without us. A number: the exit status of a command that has
 * failed, and has said why.
 */
export async function runInOwnNamespace(view: OutsideView): Promise<End | number | undefined> {
  if (!view.trust) refuseOverflowUser();
  const why = whyNoOwnNamespace();
  if (why !== undefined) {
    throw new QuicksaveError(
      'not-enough-rights',
      `You may not choose the pids of new processes, nor make a user and a pid namespace of your own (${why}).`,
      {
        remedy:
          'Run the restart as root, or give it CAP_CHECKPOINT_RESTORE, or allow user namespaces (user.max_user_namespaces), with util-linux 2.36.',
      },
    );
  }
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const inside = spawn('setpriv', [...INTO_OWN_NAMESPACE, ...again], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, [OUTSIDE_STATUS]: readFileSync('/proc/self/status', 'utf8') },
  });
  return await new Outside(inside, view).untilDone();
}

function refuseOverflowUser(): void {
  const { uid } = readStatus(asPid(process.pid));
  if (uid.effective !== readOverflowUid()) return;
  throw new QuicksaveError(
    'not-yours',
    `In a user namespace the files of all others look like those of user ${uid.effective}, so that their images cannot be told from yours.`,
    {
      remedy: 'Use another user, or --trust if you know whose image it is.',
    },
  );
}

class Outside {
  readonly #inside: ChildProcess;
  readonly #view: OutsideView;
  readonly #report: Duplex;
  #running = false;

  constructor(inside: ChildProcess, view: OutsideView) {
    this.#inside = inside;
    this.#view = view;
    this.#report = inside.stdio[REPORT_FD] as Duplex;
  }

  async untilDone(): Promise<End | number | undefined> {
    const handlers = forwarded.map((name) => ({ name, handler: () => this.#pass(name) }));
    for (const { name, handler } of handlers) process.on(name, handler);
    const exited = new Promise<number>((resolve) => {
      this.#inside.once('exit', (status) => resolve(status ?? FAILED));
    });
    try {
      for await (const line of createInterface(this.#report)) {
        const report = JSON.parse(line) as Report;
        if ('running' in report)
          this.#view.onRunning?.({ ...report.running, pid: this.#outsidePid(report.running.pid) });
        this.#running = true;
        if ('ended' in report || (this.#view.detach && 'running' in report)) return await this.#leave(report);
        this.#report.write('.');
      }
      return await exited;
    } catch (error) {
      this.#inside.kill('SIGKILL');
      await exited;
      throw error;
    } finally {
      for (const { name, handler } of handlers) process.off(name, handler);
    }
  }

  /** Without unshare(1) it goes on: it has asked not to end with it. */
  async #leave(report: Report): Promise<End | undefined> {
    await new Promise((resolve) => {
      this.#report.write('.', resolve);
    });
    this.#inside.removeAllListeners('exit');
    this.#inside.kill('SIGKILL');
    this.#report.destroy();
    return 'ended' in report ? report.ended : undefined;
  }

  /** Before it runs, the end of unshare(1) is the end of all: the first process of a namespace would ignore the signal. */
  #pass(name: (typeof forwarded)[number]): void {
    const first = this.#first();
    if (!this.#running || first === undefined) this.#inside.kill('SIGKILL');
    // What a terminal's keys send they send to all.
    else if (!['SIGINT', 'SIGQUIT'].includes(name) || readStat(asPid(process.pid)).ttyNumber === 0)
      process.kill(first, name);
  }

  #first(): Pid | undefined {
    const { pid } = this.#inside;
    return pid === undefined ? undefined : unlessMissing(() => childrenOf(asPid(pid)))?.[0];
  }

  #outsidePid(inside: Pid): Pid {
    const first = this.#first();
    const found = first && childrenOf(first).find((pid) => readStatus(pid).nsPid?.at(-1) === inside);
    if (found === undefined)
      throw new QuicksaveError('no-such-process', `There is no process ${inside} in the namespace.`);
    return found;
  }
}

const FAILED = 1;
