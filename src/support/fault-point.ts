/**
 * Fault points: the places where something is done to the host or to a target, numbered in the order in which they are passed. A test
 * has one of them fail, or the process die there, and looks at what is left (tests/faults/fault-points.test.ts). Nothing is counted, and
 * nothing costs anything, until {@link startFaultWalk} is called; whoever calls it can only make us fail.
 */
import { writeSync } from 'node:fs';

export interface FaultWalk {
  /** What happens at the point: its call answers an error instead of being made, or we are killed or stopped before it is made. */
  readonly action: 'fail' | 'kill' | 'stop';
  /** The number of the point, from 1 on; 0: all are listed on standard error when the process ends. */
  readonly at: number;
  /** Only points of this name are counted. Default: all. */
  readonly only?: string | undefined;
  /** The errno with which a call of this name fails for lack of room or of rights; undefined: it does not fail so, and is no point of `fail`. */
  readonly errnoOf: (name: string) => number | undefined;
}

const STANDARD_ERROR = 2;

let walk: FaultWalk | undefined;
let passed = 0;

export const areFaultPointsOn = (): boolean => walk !== undefined;

export function startFaultWalk(begun: FaultWalk): void {
  walk = begun;
  passed = 0;
}

/** Passes the point before a call. Returns what it answers instead of being made, a negative errno; undefined: it is to be made. */
export function passFaultPoint(name: string): number | undefined {
  if (walk === undefined) return undefined;
  if (walk.only !== undefined && walk.only !== name) return undefined;
  const errno = walk.errnoOf(name);
  if (walk.action === 'fail' && errno === undefined) return undefined;
  passed++;
  if (walk.at === 0) tell(`fault point ${passed}: ${name}`);
  if (walk.at !== passed) return undefined;
  if (walk.action === 'kill') process.kill(process.pid, 'SIGKILL');
  if (walk.action === 'stop') {
    process.kill(process.pid, 'SIGSTOP');
    return undefined;
  }
  tell(`fault point ${passed}: ${name} fails with errno ${errno}`);
  return -(errno ?? 0);
}

/** Node has made a pipe there non-blocking: its reader may be slower than a thread that moves pages. */
function tell(line: string): void {
  for (;;) {
    try {
      writeSync(STANDARD_ERROR, `${line}\n`);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}
