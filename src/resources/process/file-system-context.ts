/** Working directory, root directory and umask of the process, which its threads share unless they have their own: ../file-system.ts. */
import { asTid } from '../../support/brand.ts';
import {
  collectFileSystem,
  type FileSystemContext,
  fileSystemObstacles,
  fileSystemSchema,
  planFileSystem,
  restoreFileSystem,
} from '../file-system.ts';
import type { ProcessAspect } from '../resource.ts';

export const fileSystemContext: ProcessAspect<FileSystemContext> = {
  name: 'fileSystemContext',
  schema: fileSystemSchema,
  stage: 'early',
  obstacles: ({ pid, speaker }) => fileSystemObstacles(asTid(speaker), `pid ${pid}`),
  collect:
    ({ speaker, status }) =>
    () =>
      collectFileSystem(asTid(speaker), status.umask),
  ofCommand: () => ({ workingDirectory: process.cwd(), umask: process.umask() }),
  plan: (state, _host, pid) => planFileSystem(state, `pid ${pid}`),
  restore: (state, { batch }) => {
    restoreFileSystem(state, batch);
  },
};
