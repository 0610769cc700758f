/**
 * System V shared memory, as mappings show it: a deleted file /SYSV with the key in eight hexadecimal digits, whose inode number is the id
 * of the segment (ipc/shm.c, newseg and shm_add). Such numbers lie among those of other files of the same internal file system: memfd,
 * shared memory of mmap(2).
 */
import type { MapsEntry } from '../procfs/smaps.ts';

const NAME = /^\/SYSV([0-9a-f]{8})$/;

/** `path` is that of a deleted file. */
export const isSegmentName = (path: string): boolean => NAME.test(path);

/** Only shmat(2) makes shared ones; others come from a link in map_files. */
export const isAttachment = ({ shared, deleted, path }: Pick<MapsEntry, 'shared' | 'deleted' | 'path'>): boolean =>
  shared && deleted && isSegmentName(path);

/** The key that it was made with, which the name keeps when the segment is removed. */
export const keyInName = (path: string): number => Number.parseInt(NAME.exec(path)?.[1] ?? '0', 16);

/** As in the names and in what ipcs(1) shows. */
export const showKey = (key: number): string => `0x${key.toString(16).padStart(8, '0')}`;
