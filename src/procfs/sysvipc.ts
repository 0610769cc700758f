/** /proc/sysvipc/shm: the System V shared memory segments of our IPC namespace (ipc_namespaces(7)), whatever their modes. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { SHM } from '../kernel/abi/shm.ts';
import { QuicksaveError } from '../support/errors.ts';
import { lines, malformed, parseDecimal, parseOctal, words } from './proc-text.ts';

export interface Segment {
  /** IPC_PRIVATE (0) also of one that has been removed. As an unsigned number. */
  readonly key: number;
  readonly id: number;
  /** Permission bits. */
  readonly mode: number;
  /** IPC_RMID: it is there until nobody has it attached any more. */
  readonly removed: boolean;
  /** SHM_LOCK. */
  readonly locked: boolean;
  readonly sizeBytes: number;
  /** 0 if it is no process of our pid namespace. */
  readonly creatorPid: number;
  /** Mappings of it, in all processes: one that has been split counts for its parts. */
  readonly attachments: number;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly creator: { readonly uid: number; readonly gid: number };
  /** When it was attached last, also by fork(2), in seconds since 1970; 0 for never. */
  readonly attachedAt: number;
  /** When it was made, or owner or mode were set last: seconds since 1970. */
  readonly changedAt: number;
}

const FILE = 'sysvipc/shm';
const PATH = `/proc/${FILE}`;
const NEXT_ID = '/proc/sys/kernel/shm_next_id';

/** None on a kernel that has no System V IPC (CONFIG_SYSVIPC). */
export const readSegments = (): Segment[] => (existsSync(PATH) ? parseSegments(readFileSync(PATH, 'utf8')) : []);

/** A line of titles, then one for each segment. */
export const parseSegments = (text: string): Segment[] => lines(text).slice(1).map(parseSegment);

const COLUMNS = 14;

function parseSegment(line: string): Segment {
  const columns = words(line);
  if (columns.length < COLUMNS) throw malformed(FILE, 'a segment', line);
  const decimal = (index: number, what: string): number => parseDecimal(FILE, what, columns[index]);
  const mode = parseOctal(FILE, 'perms', columns[2]);
  return {
    key: decimal(0, 'key') >>> 0,
    id: decimal(1, 'shmid'),
    mode: mode & 0o777,
    removed: (mode & SHM.SHM_DEST) !== 0,
    locked: (mode & SHM.SHM_LOCKED) !== 0,
    sizeBytes: decimal(3, 'size'),
    creatorPid: decimal(4, 'cpid'),
    attachments: decimal(6, 'nattch'),
    owner: { uid: decimal(7, 'uid'), gid: decimal(8, 'gid') },
    creator: { uid: decimal(9, 'cuid'), gid: decimal(10, 'cgid') },
    attachedAt: decimal(11, 'atime'),
    changedAt: decimal(13, 'ctime'),
  };
}

/** CONFIG_CHECKPOINT_RESTORE. To write it takes the right that choosing pids takes (Linux 5.9). */
export const mayChooseSegmentIds = (): boolean => existsSync(NEXT_ID);

/** The id of the next segment that anybody of our IPC namespace makes, if its place is free: proc_sys_kernel(5). */
export function chooseNextSegmentId(id: number): void {
  try {
    writeFileSync(NEXT_ID, String(id));
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new QuicksaveError('no-segment-ids', `The id ${id} of a System V segment could not be chosen (${code}).`, {
      cause,
    });
  }
}
