/** Which tasks of an image have a descriptor table, or a working directory, root and umask, together: clone(2), CLONE_FILES and CLONE_FS. */
import type { ImageModel } from '../image/model.ts';

/** Each is the first task of the image that has the same. */
export interface SharingInspection {
  readonly descriptorTableOf?: number;
  readonly fileSystemOf?: number;
}

/** Leaders that share with processes before them, and threads that do not share with their leader. */
export function sharingIn({ processes }: Pick<ImageModel, 'processes'>): ReadonlyMap<number, SharingInspection> {
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
  }
  return found;
}

function firstOf(known: Map<number, number>, object: number, tid: number): number {
  const first = known.get(object) ?? tid;
  known.set(object, first);
  return first;
}

/** Of a process, what it has alone is not worth a word. */
export function ofProcess({ descriptorTableOf, fileSystemOf }: SharingInspection, pid: number): SharingInspection {
  return {
    ...(descriptorTableOf === undefined || descriptorTableOf === pid ? {} : { descriptorTableOf }),
    ...(fileSystemOf === undefined || fileSystemOf === pid ? {} : { fileSystemOf }),
  };
}
