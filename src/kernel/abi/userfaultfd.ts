/** userfaultfd(2): asynchronous write protection, and pages that come when they are touched. */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_UFFD = {
  /** Linux 6.4, linux/userfaultfd.h */
  UFFD_FEATURE_WP_UNPOPULATED: 0x2000,
  /** Linux 6.7, linux/userfaultfd.h */
  UFFD_FEATURE_WP_ASYNC: 0x8000,
} as const;

export const UFFD = {
  UFFD_USER_MODE_ONLY: 0x1,
  UFFD_API: 0xaa,
  UFFDIO_API: 0xc018aa3f,
  UFFDIO_REGISTER: 0xc020aa00,
  UFFDIO_UNREGISTER: 0x8010aa01,
  UFFDIO_WAKE: 0x8010aa02,
  UFFDIO_COPY: 0xc028aa03,
  UFFDIO_ZEROPAGE: 0xc020aa04,
  UFFDIO_WRITEPROTECT: 0xc018aa06,
  UFFDIO_REGISTER_MODE_MISSING: 0x1,
  UFFDIO_REGISTER_MODE_WP: 0x2,
  UFFDIO_WRITEPROTECT_MODE_WP: 0x1,
  UFFD_FEATURE_PAGEFAULT_FLAG_WP: 0x1,
  UFFD_FEATURE_EVENT_FORK: 0x2,
  UFFD_FEATURE_EVENT_REMAP: 0x4,
  UFFD_FEATURE_EVENT_REMOVE: 0x8,
  UFFD_FEATURE_EVENT_UNMAP: 0x40,
  UFFD_EVENT_PAGEFAULT: 0x12,
  UFFD_EVENT_FORK: 0x13,
  UFFD_EVENT_REMAP: 0x14,
  UFFD_EVENT_REMOVE: 0x15,
  UFFD_EVENT_UNMAP: 0x16,
  UFFD_FEATURE_WP_HUGETLBFS_SHMEM: 0x1000,
  ...NEWER_UFFD,
} as const;

export const userfaultfdAbi = defineAbi({
  headers: ['linux/userfaultfd.h', 'sys/ioctl.h'],
  constants: { ...UFFD },
  unlisted: { ...NEWER_UFFD },
  structs: {
    uffdio_api: {
      size: 24,
      fields: {
        api: [0, 'u64'],
        features: [8, 'u64'],
        ioctls: [16, 'u64'],
      },
    },
    uffdio_register: {
      size: 32,
      fields: {
        'range.start': [0, 'addr'],
        'range.len': [8, 'addr'],
        mode: [16, 'u64'],
        ioctls: [24, 'u64'],
      },
    },
    uffdio_copy: {
      size: 40,
      fields: {
        dst: [0, 'u64'],
        src: [8, 'u64'],
        len: [16, 'u64'],
        mode: [24, 'u64'],
        copy: [32, 'i64'],
      },
    },
    uffdio_zeropage: {
      size: 32,
      fields: {
        'range.start': [0, 'addr'],
        'range.len': [8, 'addr'],
        mode: [16, 'u64'],
        zeropage: [24, 'i64'],
      },
    },
    uffd_msg: {
      size: 32,
      fields: {
        event: [0, 'u8'],
        'arg.pagefault.address': [16, 'u64'],
        'arg.fork.ufd': [8, 'u32'],
        'arg.remap.from': [8, 'u64'],
        'arg.remap.to': [16, 'u64'],
        'arg.remap.len': [24, 'u64'],
        'arg.remove.start': [8, 'u64'],
        'arg.remove.end': [16, 'u64'],
      },
    },
    uffdio_writeprotect: {
      size: 24,
      fields: {
        'range.start': [0, 'addr'],
        'range.len': [8, 'addr'],
        mode: [16, 'u64'],
      },
    },
  },
});
