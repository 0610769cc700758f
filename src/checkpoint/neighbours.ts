/**
 * What a tree shares with, or does to, another process, and a restart could not give back: one look at every task of
 * the host. A tracer has no list of what it traces, so each task is asked for its tracer (TracerPid, proc_pid_status(5));
 * memory, descriptor table and working directory are compared with kcmp(2). Processes that we may not trace are passed over.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { describeProcess } from '../procfs/cmdline.ts';
import { listProcesses, unlessMissing, VANISHED } from '../procfs/proc-file.ts';
import { type Mapping, type MapsEntry, readMaps } from '../procfs/smaps.ts';
import { isObjectMapping } from '../resources/memory-objects.ts';
import type { ProcessView } from '../resources/resource.ts';
import { isSegmentName } from '../resources/segment-names.ts';
import { asPid, asTid, type Pid, type Tid } from '../support/brand.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import type { Problem } from '../support/errors.ts';
import { refuseLack } from '../support/lacking.ts';
import { CALLED, PARTS, type Part, type TreeParts } from './parts.ts';

/** One scan; a task that ends meanwhile is no neighbour any more. */
export function neighbourObstacles(tree: readonly Pick<ProcessView, 'pid' | 'tids'>[], parts: TreeParts): Problem[] {
  const processOf = new Map<number, Pid>(tree.flatMap(({ pid, tids }) => tids.map((tid) => [tid, pid] as const)));
  const pids = new Set<number>(tree.map(({ pid }) => pid));
  return listProcesses()
    .filter((other) => !pids.has(other) && other !== process.pid)
    .flatMap((other) =>
      tasksOf(other).flatMap((tid) => [
        ...traced(processOf, other, tid),
        ...PARTS.flatMap((part) => {
          const owner = parts.sharedWith(part, tid);
          return owner === undefined ? [] : [sharedPart(part, processOf.get(owner) ?? asPid(owner), other)];
        }),
      ]),
    );
}

export const sharedPart = (part: Part, pid: Pid, other: Pid): Problem => ({
  code: 'shared-with-another',
  path: [`pid ${pid}`, `process ${describeProcess(other)}`],
  message: `It shares its ${CALLED[part].what} with that process (${CALLED[part].flag}), which cannot be saved yet.`,
  remedy: 'Save it when the other process has ended or executed another program.',
});

/** A memory object of the tree, as one of its processes has mapped it. */
interface MappedObject {
  readonly pid: Pid;
  readonly mapping: Mapping;
}

/**
 * Memory objects of the tree that another process has mapped too: a restart would give the tree memory of its own. Only what is
 * in use is looked at: maps of all processes, 0.1 ms each.
 */
export function sharedMemoryObstacles(
  tree: readonly { readonly pid: Pid; readonly mappings: readonly Mapping[] }[],
): Problem[] {
  const wanted = new Map<string, MappedObject>();
  for (const { pid, mappings } of tree) {
    for (const mapping of mappings) {
      if (mapping.shared && isObjectMapping(mapping)) wanted.set(objectKey(mapping), { pid, mapping });
    }
  }
  if (wanted.size === 0) return [];
  const pids = new Set<number>(tree.map(({ pid }) => pid));
  return listProcesses()
    .filter((other) => !pids.has(other) && other !== process.pid)
    .flatMap((other) => {
      const theirs = new Set((unlessMissing(() => readMaps(other), UNSEEN) ?? []).map(objectKey));
      return [...wanted].filter(([key]) => theirs.has(key)).map(([, one]) => sharedMemory(one, other));
    });
}

const UNSEEN: readonly ErrorCode[] = [...VANISHED, 'not-permitted'];

/** The inode number of a System V segment, which is its id, may be that of another file too. */
const objectKey = ({ device, inode, path }: MapsEntry): string =>
  `${device.major}:${device.minor} ${inode} ${isSegmentName(path)}`;

const sharedMemory = ({ pid, mapping }: MappedObject, other: Pid): Problem => ({
  code: 'shared-with-another',
  path: [`pid ${pid}`, `mapping 0x${mapping.start.toString(16)}`, `process ${describeProcess(other)}`],
  message: `It shares this memory (${mapping.path}) with that process, which cannot be saved yet.`,
  remedy: 'Save it when the other process has ended or unmapped this memory.',
});

function tasksOf(pid: Pid): Tid[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((name) => asTid(Number(name)));
  } catch (error) {
    refuseLack(error, `/proc/${pid}/task`);
    return [];
  }
}

function traced(owners: ReadonlyMap<number, Pid>, other: Pid, tid: Tid): Problem[] {
  const pid = owners.get(tracerOf(other, tid));
  if (pid === undefined) return [];
  return [
    {
      code: 'traces-another',
      path: [`pid ${pid}`, `process ${describeProcess(other)}`],
      message: `It traces that process${tid === asTid(other) ? '' : ` (thread ${tid})`}, which a restart could not take up again.`,
      remedy: 'Save it when it has let that process go.',
    },
  ];
}

const text = Buffer.alloc(4096);
const KEY = '\nTracerPid:\t';

/** 0 for none. Only this line of the file is looked at, because there may be thousands of tasks. */
function tracerOf(pid: Pid, tid: Tid): number {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/task/${tid}/status`, 'r');
  } catch (error) {
    refuseLack(error, `/proc/${pid}/task/${tid}/status`);
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
