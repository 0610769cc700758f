/** Descriptors and paths: open(2), fcntl(2), flock(2) and the *at calls. */
import { defineAbi } from './define-abi.ts';

/** The kernel's values: unlike in glibc's header, O_LARGEFILE is not 0. */
export const OPEN = {
  O_ACCMODE: 0x3,
  O_RDONLY: 0x0,
  O_WRONLY: 0x1,
  O_RDWR: 0x2,
  O_CREAT: 0x40,
  O_EXCL: 0x80,
  O_NOCTTY: 0x100,
  O_TRUNC: 0x200,
  O_APPEND: 0x400,
  O_NONBLOCK: 0x800,
  O_DSYNC: 0x1000,
  O_ASYNC: 0x2000,
  O_DIRECT: 0x4000,
  O_LARGEFILE: 0x8000,
  O_DIRECTORY: 0x10000,
  O_NOFOLLOW: 0x20000,
  O_NOATIME: 0x40000,
  O_CLOEXEC: 0x80000,
  O_SYNC: 0x101000,
  O_PATH: 0x200000,
  O_TMPFILE: 0x410000,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_FCNTL = {
  /** Linux 6.10, linux/fcntl.h */
  F_DUPFD_QUERY: 1027,
  /** Linux 6.3, linux/fcntl.h */
  F_SEAL_EXEC: 0x20,
  /** Linux 6.5, linux/fcntl.h */
  AT_HANDLE_FID: 0x200,
} as const;

export const FCNTL = {
  F_DUPFD: 0,
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_GETLK: 5,
  F_SETLK: 6,
  F_SETLKW: 7,
  F_SETOWN: 8,
  F_GETOWN: 9,
  F_SETSIG: 10,
  F_GETSIG: 11,
  F_SETOWN_EX: 15,
  F_GETOWN_EX: 16,
  F_OFD_GETLK: 36,
  F_OFD_SETLK: 37,
  F_OFD_SETLKW: 38,
  F_SETLEASE: 1024,
  F_GETLEASE: 1025,
  F_NOTIFY: 1026,
  F_DUPFD_CLOEXEC: 1030,
  F_SETPIPE_SZ: 1031,
  F_GETPIPE_SZ: 1032,
  F_ADD_SEALS: 1033,
  F_GET_SEALS: 1034,
  F_GET_RW_HINT: 1035,
  F_SET_RW_HINT: 1036,
  F_GET_FILE_RW_HINT: 1037,
  F_SET_FILE_RW_HINT: 1038,
  F_OWNER_TID: 0,
  F_OWNER_PID: 1,
  F_OWNER_PGRP: 2,
  FD_CLOEXEC: 1,
  F_RDLCK: 0,
  F_WRLCK: 1,
  F_UNLCK: 2,
  F_SEAL_SEAL: 1,
  F_SEAL_SHRINK: 2,
  F_SEAL_GROW: 4,
  F_SEAL_WRITE: 8,
  F_SEAL_FUTURE_WRITE: 16,
  LOCK_SH: 1,
  LOCK_EX: 2,
  LOCK_NB: 4,
  LOCK_UN: 8,
  X_OK: 1,
  W_OK: 2,
  R_OK: 4,
  SEEK_SET: 0,
  SEEK_CUR: 1,
  SEEK_END: 2,
  SEEK_DATA: 3,
  SEEK_HOLE: 4,
  AT_FDCWD: -100,
  AT_SYMLINK_NOFOLLOW: 256,
  AT_EACCESS: 512,
  AT_REMOVEDIR: 512,
  AT_SYMLINK_FOLLOW: 1024,
  AT_NO_AUTOMOUNT: 2048,
  AT_EMPTY_PATH: 4096,
  AT_STATX_SYNC_AS_STAT: 0,
  AT_STATX_FORCE_SYNC: 8192,
  AT_STATX_DONT_SYNC: 16384,
  AT_RECURSIVE: 32768,
  ...NEWER_FCNTL,
} as const;

/** Its name in the kernel's header is another one. */
const { O_ASYNC: FASYNC, ...SPELLED_ALIKE } = OPEN;

export const fcntlAbi = defineAbi({
  headers: ['asm/fcntl.h', 'linux/fcntl.h', 'stdio.h', 'unistd.h'],
  constants: { ...SPELLED_ALIKE, FASYNC, ...FCNTL },
  unlisted: { ...NEWER_FCNTL },
  structs: {
    flock: {
      size: 32,
      fields: {
        l_type: [0, 'i16'],
        l_whence: [2, 'i16'],
        l_start: [8, 'i64'],
        l_len: [16, 'i64'],
        l_pid: [24, 'i32'],
      },
    },
    f_owner_ex: {
      size: 8,
      fields: {
        type: [0, 'i32'],
        pid: [4, 'i32'],
      },
    },
  },
});
