/**
 * Which tasks of an image have a descriptor table, or a working directory, root and umask, together, and which processes their memory, or what they do on
 * signals: clone(2), CLONE_FILES, CLONE_FS, CLONE_VM and CLONE_SIGHAND.
 */
import type { ImageModel } from '../image/model.ts';

/** Each is the first task of the image that has the same. */
export interface SharingInspection {
  readonly memoryOf?: number;
  readonly handlersOf?: number;
  readonly descriptorTableOf?: number;
  readonly fileSystemOf?: number;
}

/** Leaders that share with processes before them, and threads that do not share with their leader. */
export function sharingIn({ processes }: Pick<ImageModel, 'processes'>): ReadonlyMap<number, SharingInspection> {
  const memories = new Map<number, number>();
  const handlers = new Map<number, number>();
  const tables = new Map<number, number>();
  const fileSystems = new Map<number, number>();
  const found = new Map<number, SharingInspection>();
  for (const { task } of processes) {
    for (const { tid, files, fileSystem } of [{ tid: task.pid, ...task }, ...(task.apart ?? [])]) {
      found.set(tid, {
        ...(files === undefined ? {} : { descriptorTableOf: firstOf(tables, files, tid) }),
        ...(fileSystem === undefined ? {} : { fileSystemOf: firstOf(fileSystems, fileSystem, tid) }),
      });
    }
    found.set(task.pid, {
      memoryOf: firstOf(memories, task.memory, task.pid),
      ...(task.handlers === undefined ? {} : { handlersOf: firstOf(handlers, task.handlers, task.pid) }),
      ...found.get(task.pid),
    });
  }
  return found;
}

function firstOf(known: Map<number, number>, object: number, tid: number): number {
  const first = known.get(object) ?? tid;
  known.set(object, first);
  return first;
}

/** Of a process, what it has alone is not worth a word. */
export const ofProcess = (sharing: SharingInspection, pid: number): SharingInspection =>
  Object.fromEntries(Object.entries(sharing).filter(([, first]) => first !== pid));
