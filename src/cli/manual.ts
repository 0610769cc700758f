/** The manual pages as the build writes them into dist/man. */
import { VERSION } from '../support/version.ts';
import { manPages } from './man-page.ts';
import { program } from './program.ts';

/** Nothing is done: only the definitions are looked at. */
const root = program(() => Promise.reject(new Error('the definitions do nothing')));

export const pages = manPages(root, VERSION);
