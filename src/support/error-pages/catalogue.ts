/**
 * Every code that an error or a problem may have. `docs/errors.md` is made from it (`npm run docs`), and whoever makes an error is
 * checked against it by its type. A code stays what it is; one that is given up is never used again for something else.
 */
import type { ErrorPages } from './error-page.ts';
import { chooseErrors, jobErrors, remoteErrors, useErrors } from './general.ts';
import { imageErrors } from './images.ts';
import { restartErrors } from './restarting.ts';
import { memoryErrors, processErrors } from './saving.ts';
import { fileErrors, socketErrors } from './saving-files.ts';

export interface ErrorSection {
  readonly title: string;
  readonly pages: ErrorPages;
}

/** In the order of `docs/errors.md`. */
export const ERROR_SECTIONS: readonly ErrorSection[] = [
  { title: 'The command and the host', pages: useErrors },
  { title: 'Which process is saved', pages: chooseErrors },
  { title: 'Processes and threads that cannot be saved', pages: processErrors },
  { title: 'Memory that cannot be saved', pages: memoryErrors },
  { title: 'Files that cannot be saved', pages: fileErrors },
  { title: 'Sockets and terminals that cannot be saved', pages: socketErrors },
  { title: 'Images and keys', pages: imageErrors },
  { title: 'What stands in the way of a restart', pages: restartErrors },
  { title: 'Images on other hosts', pages: remoteErrors },
  { title: 'Jobs', pages: jobErrors },
];

export const ERROR_PAGES = {
  ...useErrors,
  ...chooseErrors,
  ...processErrors,
  ...memoryErrors,
  ...fileErrors,
  ...socketErrors,
  ...imageErrors,
  ...restartErrors,
  ...remoteErrors,
  ...jobErrors,
};

export type ErrorCode = keyof typeof ERROR_PAGES;
