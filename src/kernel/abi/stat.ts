/** Facts of one file: stat(2), statx(2). For x86-64 the struct stat of the C library is the one of the kernel. */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_STAT = {
  /** Linux 6.8, linux/stat.h */
  STATX_MNT_ID_UNIQUE: 0x4000,
} as const;

/** Kinds of file and mode bits, and the mask of statx(2). */
export const STAT = {
  S_IFMT: 0o170000,
  S_IFSOCK: 0o140000,
  S_IFLNK: 0o120000,
  S_IFREG: 0o100000,
  S_IFBLK: 0o60000,
  S_IFDIR: 0o40000,
  S_IFCHR: 0o20000,
  S_IFIFO: 0o10000,
  S_ISUID: 0o4000,
  S_ISGID: 0o2000,
  S_ISVTX: 0o1000,
  STATX_BASIC_STATS: 0o3777,
  STATX_BTIME: 0o4000,
  STATX_ATTR_IMMUTABLE: 0o20,
  STATX_ATTR_APPEND: 0o40,
  STATX_ATTR_ENCRYPTED: 0o4000,
  STATX_ATTR_VERITY: 0o4000000,
  STATX_ATTR_DAX: 0o10000000,
  ...NEWER_STAT,
} as const;

export const statAbi = defineAbi({
  headers: ['sys/stat.h'],
  constants: { ...STAT },
  unlisted: { ...NEWER_STAT },
  structs: {
    stat: {
      size: 144,
      fields: {
        st_dev: [0, 'u64'],
        st_ino: [8, 'u64'],
        st_nlink: [16, 'u64'],
        st_mode: [24, 'u32'],
        st_uid: [28, 'u32'],
        st_gid: [32, 'u32'],
        st_rdev: [40, 'u64'],
        st_size: [48, 'i64'],
        st_blksize: [56, 'i64'],
        st_blocks: [64, 'i64'],
        'st_atim.tv_sec': [72, 'i64'],
        'st_atim.tv_nsec': [80, 'i64'],
        'st_mtim.tv_sec': [88, 'i64'],
        'st_mtim.tv_nsec': [96, 'i64'],
        'st_ctim.tv_sec': [104, 'i64'],
        'st_ctim.tv_nsec': [112, 'i64'],
      },
    },
    statx: {
      size: 256,
      fields: {
        stx_mask: [0, 'u32'],
        stx_blksize: [4, 'u32'],
        stx_attributes: [8, 'u64'],
        stx_nlink: [16, 'u32'],
        stx_uid: [20, 'u32'],
        stx_gid: [24, 'u32'],
        stx_mode: [28, 'u16'],
        stx_ino: [32, 'u64'],
        stx_size: [40, 'u64'],
        stx_blocks: [48, 'u64'],
        stx_attributes_mask: [56, 'u64'],
        stx_rdev_major: [128, 'u32'],
        stx_rdev_minor: [132, 'u32'],
        stx_dev_major: [136, 'u32'],
        stx_dev_minor: [140, 'u32'],
      },
    },
  },
});
