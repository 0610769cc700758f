/**
 * Job control for a restarted program: where the restart command stands in the foreground of a terminal, the program's
 * process group takes its place there, as a shell does it for a job. Otherwise its first read would stop it (SIGTTIN).
 */
import { foregroundGroup, trySetForegroundGroup } from '../kernel/calls/terminal.ts';
import { readStat } from '../procfs/stat.ts';
import { asPid, type LocalFd, localFd, type Pid } from '../support/brand.ts';

const STANDARD_STREAMS = [0, 1, 2];

export class Foreground {
  readonly #terminal: LocalFd;
  readonly #ownGroup: number;

  private constructor(terminal: LocalFd, ownGroup: number) {
    this.#terminal = terminal;
    this.#ownGroup = ownGroup;
  }

  /** Undefined if no standard stream of ours is a terminal that our process group has. */
  static find(): Foreground | undefined {
    const { processGroup } = readStat(asPid(process.pid));
    const terminal = STANDARD_STREAMS.find((fd) => foregroundGroup(localFd(fd)) === processGroup);
    return terminal === undefined ? undefined : new Foreground(localFd(terminal), processGroup);
  }

  /** Gives the terminal to the process's group; false if that is in another session. */
  giveTo(pid: Pid): boolean {
    return trySetForegroundGroup(this.#terminal, readStat(pid).processGroup);
  }

  get isOurs(): boolean {
    return foregroundGroup(this.#terminal) === this.#ownGroup;
  }

  takeBack(): void {
    trySetForegroundGroup(this.#terminal, this.#ownGroup);
  }
}
