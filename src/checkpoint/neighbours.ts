/**
 * What the process shares with, or does to, another process, and a restart could not give back: one look at every task of
 * the host. A tracer has no list of what it traces, so each task is asked for its tracer (TracerPid, proc_pid_status(5));
 * memory, descriptor table and working directory are compared with kcmp(2). Processes that we may not trace are passed over.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { KCMP } from '../kernel/abi/fs.ts';
import { tryCompareTasks } from '../kernel/calls/descriptors.ts';
import { describeProcess } from '../procfs/cmdline.ts';
import { listProcesses, unlessMissing, VANISHED } from '../procfs/proc-file.ts';
import { type Mapping, type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { isObjectMapping } from '../resources/memory-objects.ts';
import type { ProcessView } from '../resources/resource.ts';
import { asTid, type Pid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';

const SHARED = [
  // Signal handlers are only ever shared along with the memory (clone(2), CLONE_SIGHAND).
  { what: 'its memory', flag: 'CLONE_VM', type: KCMP.KCMP_VM },
  { what: 'its descriptor table', flag: 'CLONE_FILES', type: KCMP.KCMP_FILES },
  { what: 'its working directory, root and umask', flag: 'CLONE_FS', type: KCMP.KCMP_FS },
];

/** One scan; a task that ends meanwhile is no neighbour any more. */
export function neighbourObstacles({ pid, tids }: Pick<ProcessView, 'pid' | 'tids'>): Problem[] {
  const own = new Set<number>(tids);
  return listProcesses()
    .filter((other) => other !== pid && other !== process.pid)
    .flatMap((other) => tasksOf(other).flatMap((tid) => [...traced(pid, own, other, tid), ...shared(pid, other, tid)]));
}

/**
 * Memory objects of these mappings that another process has mapped too: a restart would give the process memory of its own.
 * Only what is in use is looked at: maps of all processes, 0.1 ms each.
 */
export function sharedMemoryObstacles(pid: Pid, mappings: readonly Mapping[]): Problem[] {
  const wanted = new Map(
    mappings.filter((one) => one.shared && isObjectMapping(one)).map((one) => [objectKey(one), one]),
  );
  if (wanted.size === 0) return [];
  return listProcesses()
    .filter((other) => other !== pid && other !== process.pid)
    .flatMap((other) => {
      const theirs = new Set((unlessMissing(() => readMaps(other), UNSEEN) ?? []).map(objectKey));
      return [...wanted].filter(([key]) => theirs.has(key)).map(([, mapping]) => sharedMemory(pid, other, mapping));
    });
}

const UNSEEN = [...VANISHED, 'not-permitted'];

const objectKey = ({ device, inode }: MapsEntry): string => `${device.major}:${device.minor} ${inode}`;

const sharedMemory = (pid: Pid, other: Pid, mapping: Mapping): Problem => ({
  code: 'shared-with-another',
  path: [`pid ${pid}`, `mapping 0x${mapping.start.toString(16)}`, `process ${describeProcess(other)}`],
  message: `It shares this memory (${mapping.path}) with that process, which cannot be saved yet.`,
  remedy: 'Save it when the other process has ended or unmapped this memory.',
});

function tasksOf(pid: Pid): Tid[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((name) => asTid(Number(name)));
  } catch {
    return [];
  }
}

function traced(pid: Pid, own: ReadonlySet<number>, other: Pid, tid: Tid): Problem[] {
  if (!own.has(tracerOf(other, tid))) return [];
  return [
    {
      code: 'traces-another',
      path: [`pid ${pid}`, `process ${describeProcess(other)}`],
      message: `It traces that process${tid === asTid(other) ? '' : ` (thread ${tid})`}, which a restart could not take up again.`,
      remedy: 'Save it when it has let that process go.',
    },
  ];
}

function shared(pid: Pid, other: Pid, tid: Tid): Problem[] {
  return SHARED.filter(({ type }) => tryCompareTasks(asTid(pid), tid, type)).map(({ what, flag }) => ({
    code: 'shared-with-another',
    path: [`pid ${pid}`, `process ${describeProcess(other)}`],
    message: `It shares ${what} with that process (${flag}), which cannot be saved yet.`,
    remedy: 'Save it when the other process has ended or executed another program.',
  }));
}

const text = Buffer.alloc(4096);
const KEY = '\nTracerPid:\t';

/** 0 for none. Only this line of the file is looked at, because there may be thousands of tasks. */
function tracerOf(pid: Pid, tid: Tid): number {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/task/${tid}/status`, 'r');
  } catch {
    return 0;
  }
  try {
    const begin = text.toString('latin1', 0, readSync(fd, text));
    const at = begin.indexOf(KEY);
    return at < 0 ? 0 : Number.parseInt(begin.slice(at + KEY.length), 10);
  } catch {
    return 0;
  } finally {
    closeSync(fd);
  }
}
