/**
 * What a task has of the file system (struct fs_struct of the kernel): working directory, root directory and umask:
 * path_resolution(7), umask(2). Read from the links /proc/TID/cwd and root and from status. A directory that was deleted is refused. A root other
 * than ours is refused, because every other path of the image is seen from our root.
 */

import * as v from 'valibot';
import { boundedString, u32 } from '../image/schema.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { readRootDirectory, readWorkingDirectory } from '../procfs/exe.ts';
import { isLossyText } from '../procfs/proc-file.ts';
import { asPid, type Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';
import type { CallBatch } from '../tracee/call-batch.ts';
import { enteringProblems } from './may-open.ts';

export const fileSystemSchema = v.strictObject({
  workingDirectory: boundedString(4096),
  umask: v.pipe(u32, v.maxValue(0o777)),
});
export type FileSystemContext = v.InferOutput<typeof fileSystemSchema>;

export const collectFileSystem = (tid: Tid, umask: number | undefined): FileSystemContext => ({
  workingDirectory: readWorkingDirectory(asPid(tid))?.path ?? '/',
  umask: umask ?? 0o022,
});

export function restoreFileSystem(state: FileSystemContext, batch: CallBatch): void {
  batch.call(`enter the directory ${state.workingDirectory}`, SYS.chdir, batch.cString(state.workingDirectory).address);
  batch.call('set the umask', SYS.umask, state.umask);
}

export function planFileSystem({ workingDirectory }: FileSystemContext, path: string): Problem[] {
  const refused = enteringProblems(workingDirectory, [path, 'working directory']);
  if (refused.length > 0 || tryStat(workingDirectory)?.isDirectory()) return refused;
  return [
    {
      code: 'missing-directory',
      path: [path, 'working directory'],
      message: `Its working directory ${workingDirectory} does not exist here.`,
      remedy: `Make it: mkdir -p ${workingDirectory}`,
    },
  ];
}

/** `path`: who has it, for messages. */
export function fileSystemObstacles(tid: Tid, path: string): Problem[] {
  const found: Problem[] = [];
  const cwd = readWorkingDirectory(asPid(tid));
  if (cwd !== undefined && isLossyText(cwd.path)) {
    found.push({
      code: 'path-no-text',
      path: [path, 'working directory'],
      message: `Its working directory ${cwd.path} is not UTF-8, which cannot be saved yet.`,
      remedy: 'Have the program change to another directory.',
    });
  }
  if (cwd?.deleted) {
    found.push({
      code: 'deleted-directory',
      path: [path, 'working directory'],
      message: `Its working directory ${cwd.path} has been deleted.`,
      remedy: 'Have the program change to a directory that exists.',
    });
  }
  const root = readRootDirectory(asPid(tid));
  if (root !== undefined && root.path !== '/') {
    found.push({
      code: 'other-root',
      path: [path, 'root directory'],
      message: `Its root directory is ${root.path}.`,
      remedy: `Run quicksave inside the same root: chroot ${root.path}`,
    });
  }
  return found;
}
