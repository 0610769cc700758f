/** Files of huge pages: hugetlbfs. Each has pages of one size, which its file system tells (statfs(2)). */
import { statfsSync } from 'node:fs';
import * as v from 'valibot';
import { MAP } from '../kernel/abi/mman.ts';

/** The sizes that x86 has, in KiB. */
export const HUGE_SIZES_KIB = [2048, 1048576] as const;
export type HugeSizeKiB = (typeof HUGE_SIZES_KIB)[number];

/** A field that only objects of huge pages have. */
export const hugePageKiB = v.optional(v.picklist(HUGE_SIZES_KIB));

/** linux/magic.h */
const HUGETLBFS_MAGIC = 0x9584_58f6;

/** Undefined for a file of other pages. `path` may be a link in /proc. */
export function hugeSizeOf(path: string): HugeSizeKiB | undefined {
  const { type, bsize } = statfsSync(path);
  return type === HUGETLBFS_MAGIC ? HUGE_SIZES_KIB.find((size) => size * 1024 === bsize) : undefined;
}

/** As a field of a state; none for other pages. */
export function hugePageField(path: string): { hugePageKiB?: HugeSizeKiB } {
  const size = hugeSizeOf(path);
  return size === undefined ? {} : { hugePageKiB: size };
}

/** Its size in flags of mmap(2), and of memfd_create(2) and shmget(2), which have it at the same place. */
export const hugeSizeFlag = (size: HugeSizeKiB): number => Math.log2(size * 1024) << MAP.MAP_HUGE_SHIFT;

/** For schemas: a file of huge pages has whole ones. */
export const hasWholePages = ({
  sizeBytes,
  hugePageKiB: size,
}: {
  readonly sizeBytes: number;
  readonly hugePageKiB?: HugeSizeKiB | undefined;
}): boolean => size === undefined || sizeBytes % (size * 1024) === 0;

/** What an object takes of the pool, if it is the one that carries the bytes. */
export function pagesOfPool(
  size: HugeSizeKiB | undefined,
  sizeBytes: number,
): { readonly pageBytes: number; readonly pages: number } | undefined {
  return size === undefined ? undefined : { pageBytes: size * 1024, pages: Math.ceil(sizeBytes / (size * 1024)) };
}
