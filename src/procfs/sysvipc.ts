/**
 * /proc/sysvipc: the System V shared memory segments, semaphore sets and message queues of our IPC namespace (ipc_namespaces(7)), whatever their
 * modes. There are none on a kernel that has no System V IPC (CONFIG_SYSVIPC).
 */
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

/** The names that the kernel's files have for them. */
export type IpcTable = 'shm' | 'sem' | 'msg';

const fileOf = (table: IpcTable): string => `sysvipc/${table}`;

function readTable(table: IpcTable): string {
  const path = `/proc/${fileOf(table)}`;
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

interface Row {
  readonly decimal: (index: number, what: string) => number;
  readonly octal: (index: number, what: string) => number;
}

/** A line of titles, then one for each. */
const rowsOf = (table: IpcTable, text: string, width: number): Row[] =>
  lines(text)
    .slice(1)
    .map((line) => {
      const columns = words(line);
      if (columns.length < width) throw malformed(fileOf(table), 'a line', line);
      return {
        decimal: (index, what) => parseDecimal(fileOf(table), what, columns[index]),
        octal: (index, what) => parseOctal(fileOf(table), what, columns[index]),
      };
    });

export const readSegments = (): Segment[] => parseSegments(readTable('shm'));

export const parseSegments = (text: string): Segment[] => rowsOf('shm', text, 14).map(segmentIn);

function segmentIn({ decimal, octal }: Row): Segment {
  const mode = octal(2, 'perms');
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

/** What semaphore sets and message queues have in common. */
export interface IpcObject {
  /** IPC_PRIVATE: 0. As an unsigned number. */
  readonly key: number;
  readonly id: number;
  /** Permission bits. */
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly creator: { readonly uid: number; readonly gid: number };
}

export interface SemaphoreSet extends IpcObject {
  /** How many semaphores it has. */
  readonly count: number;
}

export interface MessageQueue extends IpcObject {
  /** How many messages wait in it. */
  readonly count: number;
  /** Who has sent to it, and received from it, last; 0: nobody, or no process of our pid namespace. */
  readonly senderPid: number;
  readonly receiverPid: number;
}

const objectIn = ({ decimal, octal }: Row, users: number): IpcObject => ({
  key: decimal(0, 'key') >>> 0,
  id: decimal(1, 'id'),
  mode: octal(2, 'perms') & 0o777,
  owner: { uid: decimal(users, 'uid'), gid: decimal(users + 1, 'gid') },
  creator: { uid: decimal(users + 2, 'cuid'), gid: decimal(users + 3, 'cgid') },
});

export const readSemaphoreSets = (): SemaphoreSet[] => parseSemaphoreSets(readTable('sem'));

export const parseSemaphoreSets = (text: string): SemaphoreSet[] =>
  rowsOf('sem', text, 10).map((row) => ({ ...objectIn(row, 4), count: row.decimal(3, 'nsems') }));

export const readMessageQueues = (): MessageQueue[] => parseMessageQueues(readTable('msg'));

export const parseMessageQueues = (text: string): MessageQueue[] =>
  rowsOf('msg', text, 14).map((row) => ({
    ...objectIn(row, 7),
    count: row.decimal(4, 'qnum'),
    senderPid: row.decimal(5, 'lspid'),
    receiverPid: row.decimal(6, 'lrpid'),
  }));

/** msgmnb: proc_sys_kernel(5). None on a kernel without queues. */
export function queueCapacityLimit(): number {
  const path = '/proc/sys/kernel/msgmnb';
  return existsSync(path) ? parseDecimal('sys/kernel/msgmnb', 'a size', readFileSync(path, 'utf8').trim()) : 0;
}

const nextIdFile = (table: IpcTable): string => `/proc/sys/kernel/${table}_next_id`;

/** CONFIG_CHECKPOINT_RESTORE. To write it takes the right that choosing pids takes (Linux 5.9). */
export const mayChooseIpcIds = (table: IpcTable): boolean => existsSync(nextIdFile(table));

/** The id of the next one that anybody of our IPC namespace makes, if its place is free: proc_sys_kernel(5). */
export function chooseNextIpcId(table: IpcTable, id: number): void {
  try {
    writeFileSync(nextIdFile(table), String(id));
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new QuicksaveError('no-segment-ids', `The id ${id} of a System V object could not be chosen (${code}).`, {
      cause,
    });
  }
}
