/** Resource limits (prlimit(2)) and priorities (setpriority(2)). */
import { defineAbi } from './define-abi.ts';

export const RLIMIT = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
  RLIM_NLIMITS: 16,
  RLIM64_INFINITY: -1,
} as const;

export const PRIO = {
  PRIO_PROCESS: 0,
  PRIO_PGRP: 1,
  PRIO_USER: 2,
} as const;

export const resourceAbi = defineAbi({
  headers: ['linux/resource.h'],
  constants: { ...RLIMIT, ...PRIO },
  structs: {
    /** What prlimit64 takes: struct rlimit of a 64-bit program is the same. */
    rlimit64: {
      size: 16,
      fields: {
        rlim_cur: [0, 'u64'],
        rlim_max: [8, 'u64'],
      },
    },
  },
});
