/** Files: what a file system is called (statfs(2)), ioctl(2) on files and on pagemap, kcmp(2). */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_FS = {
  /** Linux 6.7, linux/fs.h: _IOWR('f', 16, struct pm_scan_arg) */
  PAGEMAP_SCAN: 0xc0606610,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_WPALLOWED: 0x1,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_WRITTEN: 0x2,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_FILE: 0x4,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_PRESENT: 0x8,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_SWAPPED: 0x10,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_PFNZERO: 0x20,
  /** Linux 6.7, linux/fs.h */
  PAGE_IS_HUGE: 0x40,
  /** Linux 6.9, linux/fs.h */
  PAGE_IS_SOFT_DIRTY: 0x80,
  /** Linux 6.15, linux/fs.h */
  PAGE_IS_GUARD: 0x100,
  /** Linux 6.7, linux/fs.h */
  PM_SCAN_WP_MATCHING: 0x1,
  /** Linux 6.7, linux/fs.h */
  PM_SCAN_CHECK_WPASYNC: 0x2,
  /** Linux 6.11, linux/fs.h: _IOWR('f', 17, struct procmap_query) */
  PROCMAP_QUERY: 0xc0686611,
} as const;

export const FS = {
  FIONREAD: 0x541b,
  FIONBIO: 0x5421,
  FIOASYNC: 0x5452,
  FIBMAP: 0x1,
  FS_IOC_GETFLAGS: 0x80086601,
  FS_IOC_SETFLAGS: 0x40086602,
  FS_IOC_FIEMAP: 0xc020660b,
  FICLONE: 0x40049409,
  FS_IMMUTABLE_FL: 0x10,
  FS_APPEND_FL: 0x20,
  FS_NOCOW_FL: 0x800000,
  RENAME_NOREPLACE: 0x1,
  RENAME_EXCHANGE: 0x2,
  ...NEWER_FS,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_MAGIC = {
  /** Linux 6.9, linux/magic.h */
  PID_FS_MAGIC: 0x50494446,
} as const;

/** f_type of statfs(2). */
export const MAGIC = {
  TMPFS_MAGIC: 0x1021994,
  RAMFS_MAGIC: 0x858458f6,
  HUGETLBFS_MAGIC: 0x958458f6,
  EXT4_SUPER_MAGIC: 0xef53,
  XFS_SUPER_MAGIC: 0x58465342,
  BTRFS_SUPER_MAGIC: 0x9123683e,
  F2FS_SUPER_MAGIC: 0xf2f52010,
  OVERLAYFS_SUPER_MAGIC: 0x794c7630,
  FUSE_SUPER_MAGIC: 0x65735546,
  NFS_SUPER_MAGIC: 0x6969,
  SMB2_SUPER_MAGIC: 0xfe534d42,
  V9FS_MAGIC: 0x1021997,
  SQUASHFS_MAGIC: 0x73717368,
  EROFS_SUPER_MAGIC_V1: 0xe0f5e1e2,
  MSDOS_SUPER_MAGIC: 0x4d44,
  CGROUP_SUPER_MAGIC: 0x27e0eb,
  CGROUP2_SUPER_MAGIC: 0x63677270,
  DEVPTS_SUPER_MAGIC: 0x1cd1,
  PIPEFS_MAGIC: 0x50495045,
  PROC_SUPER_MAGIC: 0x9fa0,
  SOCKFS_MAGIC: 0x534f434b,
  SYSFS_MAGIC: 0x62656572,
  DEBUGFS_MAGIC: 0x64626720,
  TRACEFS_MAGIC: 0x74726163,
  SECURITYFS_MAGIC: 0x73636673,
  ANON_INODE_FS_MAGIC: 0x9041934,
  NSFS_MAGIC: 0x6e736673,
  BPF_FS_MAGIC: 0xcafe4a11,
  BDEVFS_MAGIC: 0x62646576,
  DMA_BUF_MAGIC: 0x444d4142,
  SECRETMEM_MAGIC: 0x5345434d,
  AUTOFS_SUPER_MAGIC: 0x187,
  BINFMTFS_MAGIC: 0x42494e4d,
  ...NEWER_MAGIC,
} as const;

/** kcmp(2): what to compare. */
export const KCMP = {
  KCMP_FILE: 0,
  KCMP_VM: 1,
  KCMP_FILES: 2,
  KCMP_FS: 3,
  KCMP_SIGHAND: 4,
  KCMP_IO: 5,
  KCMP_SYSVSEM: 6,
  KCMP_EPOLL_TFD: 7,
} as const;

/** fallocate(2). */
export const FALLOC = {
  FALLOC_FL_KEEP_SIZE: 0x1,
  FALLOC_FL_PUNCH_HOLE: 0x2,
} as const;

export const fsAbi = defineAbi({
  headers: [
    'linux/fs.h',
    'linux/magic.h',
    'linux/fiemap.h',
    'asm/statfs.h',
    'asm/ioctls.h',
    'linux/kcmp.h',
    'linux/falloc.h',
  ],
  constants: { ...FS, ...MAGIC, ...KCMP, ...FALLOC },
  unlisted: { ...NEWER_FS, ...NEWER_MAGIC },
  structs: {
    statfs: {
      size: 120,
      fields: {
        f_type: [0, 'i64'],
        f_bsize: [8, 'i64'],
        f_blocks: [16, 'i64'],
        f_bfree: [24, 'i64'],
        f_bavail: [32, 'i64'],
        f_files: [40, 'i64'],
        f_ffree: [48, 'i64'],
        f_namelen: [64, 'i64'],
        f_frsize: [72, 'i64'],
        f_flags: [80, 'i64'],
      },
    },
    kcmp_epoll_slot: {
      size: 12,
      fields: {
        efd: [0, 'u32'],
        tfd: [4, 'u32'],
        toff: [8, 'u32'],
      },
    },
    /** Linux 6.7, linux/fs.h. */
    pm_scan_arg: {
      guard: 'PAGEMAP_SCAN',
      definition:
        'struct pm_scan_arg { __u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask; };',
      size: 96,
      fields: {
        size: [0, 'u64'],
        flags: [8, 'u64'],
        start: [16, 'addr'],
        end: [24, 'addr'],
        walk_end: [32, 'addr'],
        vec: [40, 'addr'],
        vec_len: [48, 'u64'],
        max_pages: [56, 'u64'],
        category_inverted: [64, 'u64'],
        category_mask: [72, 'u64'],
        category_anyof_mask: [80, 'u64'],
        return_mask: [88, 'u64'],
      },
    },
    /** Linux 6.7, linux/fs.h. */
    page_region: {
      guard: 'PAGEMAP_SCAN',
      definition: 'struct page_region { __u64 start, end, categories; };',
      size: 24,
      fields: {
        start: [0, 'addr'],
        end: [8, 'addr'],
        categories: [16, 'u64'],
      },
    },
  },
});
