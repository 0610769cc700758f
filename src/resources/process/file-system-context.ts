/**
 * Working directory, root directory and umask: path_resolution(7), umask(2).
 * Read from the links /proc/PID/cwd and root and from status. A directory that was deleted is refused. A root other than
 * ours is refused, because every other path of the image is seen from our root.
 */

import * as v from 'valibot';
import { boundedString, u32 } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { readRootDirectory, readWorkingDirectory } from '../../procfs/exe.ts';
import { isLossyText } from '../../procfs/proc-file.ts';
import type { Problem } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

const schema = v.strictObject({ workingDirectory: boundedString(4096), umask: v.pipe(u32, v.maxValue(0o777)) });
type FileSystemContext = v.InferOutput<typeof schema>;

export const fileSystemContext: ProcessAspect<FileSystemContext> = {
  name: 'fileSystemContext',
  schema,
  stage: 'early',
  obstacles,
  collect:
    ({ pid, status }) =>
    () => ({
      workingDirectory: readWorkingDirectory(pid)?.path ?? '/',
      umask: status.umask ?? 0o022,
    }),
  ofCommand: () => ({ workingDirectory: process.cwd(), umask: process.umask() }),
  plan: (state, _host, pid) => (isDirectory(state.workingDirectory) ? [] : [missing(state.workingDirectory, pid)]),
  restore: (state, { batch }) => {
    batch.call(
      `enter the directory ${state.workingDirectory}`,
      SYS.chdir,
      batch.cString(state.workingDirectory).address,
    );
    batch.call('set the umask', SYS.umask, state.umask);
  },
};

function isDirectory(path: string): boolean {
  return tryStat(path)?.isDirectory() ?? false;
}

function missing(path: string, pid: number): Problem {
  return {
    code: 'missing-directory',
    path: [`pid ${pid}`, 'working directory'],
    message: `Its working directory ${path} does not exist here.`,
    remedy: `Make it: mkdir -p ${path}`,
  };
}

function obstacles({ pid }: ProcessView): Problem[] {
  const found: Problem[] = [];
  const cwd = readWorkingDirectory(pid);
  if (cwd !== undefined && isLossyText(cwd.path)) {
    found.push({
      code: 'path-no-text',
      path: [`pid ${pid}`, 'working directory'],
      message: `Its working directory ${cwd.path} is not UTF-8, which cannot be saved yet.`,
      remedy: 'Have the program change to another directory.',
    });
  }
  if (cwd?.deleted) {
    found.push({
      code: 'deleted-directory',
      path: [`pid ${pid}`, 'working directory'],
      message: `Its working directory ${cwd.path} has been deleted.`,
      remedy: 'Have the program change to a directory that exists.',
    });
  }
  const root = readRootDirectory(pid);
  if (root !== undefined && root.path !== '/') {
    found.push({
      code: 'other-root',
      path: [`pid ${pid}`, 'root directory'],
      message: `Its root directory is ${root.path}.`,
      remedy: `Run quicksave inside the same root: chroot ${root.path}`,
    });
  }
  return found;
}
