/** Memory mappings: mmap(2), madvise(2), mremap(2), mlock(2). */
import { defineAbi } from './define-abi.ts';

export const PROT = {
  PROT_NONE: 0x0,
  PROT_READ: 0x1,
  PROT_WRITE: 0x2,
  PROT_EXEC: 0x4,
  PROT_SEM: 0x8,
  PROT_GROWSDOWN: 0x1000000,
  PROT_GROWSUP: 0x2000000,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_MAP = {
  /** Linux 6.11, linux/mman.h */
  MAP_DROPPABLE: 0x8,
} as const;

export const MAP = {
  MAP_SHARED: 0x1,
  MAP_PRIVATE: 0x2,
  MAP_SHARED_VALIDATE: 0x3,
  MAP_TYPE: 0xf,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  MAP_32BIT: 0x40,
  MAP_GROWSDOWN: 0x100,
  MAP_DENYWRITE: 0x800,
  MAP_EXECUTABLE: 0x1000,
  MAP_LOCKED: 0x2000,
  MAP_NORESERVE: 0x4000,
  MAP_POPULATE: 0x8000,
  MAP_NONBLOCK: 0x10000,
  MAP_STACK: 0x20000,
  MAP_HUGETLB: 0x40000,
  MAP_SYNC: 0x80000,
  MAP_FIXED_NOREPLACE: 0x100000,
  MAP_HUGE_SHIFT: 0x1a,
  MAP_HUGE_MASK: 0x3f,
  ...NEWER_MAP,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_MADV = {
  /** Linux 6.13, asm-generic/mman-common.h */
  MADV_GUARD_INSTALL: 102,
  /** Linux 6.13, asm-generic/mman-common.h */
  MADV_GUARD_REMOVE: 103,
} as const;

export const MADV = {
  MADV_NORMAL: 0,
  MADV_RANDOM: 1,
  MADV_SEQUENTIAL: 2,
  MADV_WILLNEED: 3,
  MADV_DONTNEED: 4,
  MADV_FREE: 8,
  MADV_REMOVE: 9,
  MADV_DONTFORK: 10,
  MADV_DOFORK: 11,
  MADV_MERGEABLE: 12,
  MADV_UNMERGEABLE: 13,
  MADV_HUGEPAGE: 14,
  MADV_NOHUGEPAGE: 15,
  MADV_DONTDUMP: 16,
  MADV_DODUMP: 17,
  MADV_WIPEONFORK: 18,
  MADV_KEEPONFORK: 19,
  MADV_COLD: 20,
  MADV_PAGEOUT: 21,
  MADV_POPULATE_READ: 22,
  MADV_POPULATE_WRITE: 23,
  MADV_DONTNEED_LOCKED: 24,
  MADV_COLLAPSE: 25,
  MADV_HWPOISON: 100,
  MADV_SOFT_OFFLINE: 101,
  ...NEWER_MADV,
} as const;

export const MREMAP = {
  MREMAP_MAYMOVE: 1,
  MREMAP_FIXED: 2,
  MREMAP_DONTUNMAP: 4,
} as const;

export const MLOCK = {
  MLOCK_ONFAULT: 1,
  MCL_CURRENT: 1,
  MCL_FUTURE: 2,
  MCL_ONFAULT: 4,
} as const;

export const MSYNC = {
  MS_ASYNC: 1,
  MS_INVALIDATE: 2,
  MS_SYNC: 4,
} as const;

export const mmanAbi = defineAbi({
  headers: ['linux/mman.h'],
  constants: { ...PROT, ...MAP, ...MADV, ...MREMAP, ...MLOCK, ...MSYNC },
  unlisted: { ...NEWER_MAP, ...NEWER_MADV },
});
