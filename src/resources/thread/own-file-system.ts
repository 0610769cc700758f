/**
 * Working directory, root directory and umask of a thread that shares them with the first one no more, or never did: unshare(2) or clone(2)
 * without CLONE_FS. Undefined for all others. That it has its own is made when the thread is born: TASK says who shares what.
 */
import * as v from 'valibot';
import { KCMP } from '../../kernel/abi/fs.ts';
import { compareTasks } from '../../kernel/calls/descriptors.ts';
import { readTaskStatus } from '../../procfs/status.ts';
import { asTid, type Pid, type Tid } from '../../support/brand.ts';
import {
  collectFileSystem,
  type FileSystemContext,
  fileSystemObstacles,
  fileSystemSchema,
  planFileSystem,
  restoreFileSystem,
} from '../file-system.ts';
import type { ThreadAspect } from '../resource.ts';

export const ownFileSystem: ThreadAspect<FileSystemContext | undefined> = {
  name: 'fileSystemContext',
  schema: v.optional(fileSystemSchema),
  obstacles: ({ tid, speaker }) => (isOwn(speaker, tid) ? fileSystemObstacles(tid, `thread ${tid}`) : []),
  collect:
    ({ pid, tid, speaker }) =>
    () =>
      isOwn(speaker, tid) ? collectFileSystem(tid, readTaskStatus(pid, tid).umask) : undefined,
  plan: (state, _host, tid) => (state === undefined ? [] : planFileSystem(state, `thread ${tid}`)),
  restore: (state, { batch }) => {
    if (state !== undefined) restoreFileSystem(state, batch);
  },
};

const isOwn = (speaker: Pid, tid: Tid): boolean =>
  tid !== asTid(speaker) && !compareTasks(asTid(speaker), tid, KCMP.KCMP_FS);
