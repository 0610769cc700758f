/**
 * The right to follow the links of /proc/PID/map_files (proc_pid_map_files(5)): memory without a name can be reached by them alone.
 * CAP_CHECKPOINT_RESTORE since Linux 5.9, in the first user namespace only (proc_map_files_get_link() in fs/proc/base.c).
 */
import { statSync } from 'node:fs';
import { readMaps } from '../procfs/smaps.ts';
import { asPid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { refuseLack } from '../support/lacking.ts';
import { mapLink } from './mapped-file.ts';

let known: boolean | undefined;

/** Asked once, of a mapping of our own. */
export function mayFollowMappings(): boolean {
  known ??= tryOwn();
  return known;
}

function tryOwn(): boolean {
  const own = asPid(process.pid);
  const mapped = readMaps(own).find(({ path, deleted }) => path.startsWith('/') && !deleted);
  if (mapped === undefined) return false;
  try {
    statSync(mapLink(own, mapped));
    return true;
  } catch (error) {
    refuseLack(error, '/proc/self/map_files');
    return false;
  }
}

/** `what`: the beginning of a sentence, with the memory that it is about. `doing`: what only they may. */
export const noMapFiles = (path: readonly string[], what: string, doing: string): Problem => ({
  code: 'not-enough-rights',
  path,
  message: `${what}, which only who has CAP_CHECKPOINT_RESTORE outside of any user namespace may ${doing} (/proc/PID/map_files).`,
  remedy: 'Run quicksave as root, or give it CAP_CHECKPOINT_RESTORE.',
});
