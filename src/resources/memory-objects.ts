/** Files without a name: what of them a mapping or a descriptor shows is a memory object, whose bytes the image carries. */
import type { MapsEntry } from '../procfs/smaps.ts';
import { isSegmentName } from './segment-names.ts';

const AIO_NAME = '/[aio]';
/** Names that the kernel gives to what is no memory that can be made again, or not by a file. */
const OTHER_NAMES = ['/secretmem', AIO_NAME];

/** `path` is that of a deleted file, as the kernel shows it. System V segments are a kind of their own. */
export const canBeMadeAgain = (path: string): boolean =>
  path.startsWith('/') && !OTHER_NAMES.includes(path) && !isSegmentName(path);

export const isObjectMapping = ({ path, deleted }: Pick<MapsEntry, 'path' | 'deleted'>): boolean =>
  deleted && canBeMadeAgain(path);

/** The ring of a context of io_setup(2). */
export const isAioRing = ({ path, deleted }: Pick<MapsEntry, 'path' | 'deleted'>): boolean =>
  deleted && path === AIO_NAME;
