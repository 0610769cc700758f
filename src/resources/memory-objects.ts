/** Files without a name: what of them a mapping or a descriptor shows is a memory object, whose bytes the image carries. */
import type { MapsEntry } from '../procfs/smaps.ts';
import { isSegmentName } from './segment-names.ts';

/** Names that the kernel gives to what cannot be made again: secret memory, asynchronous I/O. */
const OTHER_NAMES = /^\/(secretmem|\[aio\])$/;

/** `path` is that of a deleted file, as the kernel shows it. System V segments are a kind of their own. */
export const canBeMadeAgain = (path: string): boolean =>
  path.startsWith('/') && !OTHER_NAMES.test(path) && !isSegmentName(path);

export const isObjectMapping = ({ path, deleted }: Pick<MapsEntry, 'path' | 'deleted'>): boolean =>
  deleted && canBeMadeAgain(path);
