/** Files without a name: what of them a mapping or a descriptor shows is a memory object, whose bytes the image carries. */
import type { MapsEntry } from '../procfs/smaps.ts';

/** Names that the kernel gives to what cannot be made again: System V segments, secret memory, huge pages, asynchronous I/O. */
const OTHER_NAMES = /^\/(SYSV[0-9a-f]{8}|secretmem|anon_hugepage|\[aio\])$/;

/** `path` is that of a deleted file, as the kernel shows it. */
export const canBeMadeAgain = (path: string): boolean => path.startsWith('/') && !OTHER_NAMES.test(path);

export const isObjectMapping = ({ path, deleted }: Pick<MapsEntry, 'path' | 'deleted'>): boolean =>
  deleted && canBeMadeAgain(path);
