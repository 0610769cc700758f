/** Tasks and their scheduling: clone(2), clone3(2), sched_setattr(2), ioprio_set(2). */
import { defineAbi } from './define-abi.ts';

export const CLONE = {
  CLONE_VM: 0x100,
  CLONE_FS: 0x200,
  CLONE_FILES: 0x400,
  CLONE_SIGHAND: 0x800,
  CLONE_PIDFD: 0x1000,
  CLONE_PTRACE: 0x2000,
  CLONE_VFORK: 0x4000,
  CLONE_PARENT: 0x8000,
  CLONE_THREAD: 0x10000,
  CLONE_NEWNS: 0x20000,
  CLONE_SYSVSEM: 0x40000,
  CLONE_SETTLS: 0x80000,
  CLONE_PARENT_SETTID: 0x100000,
  CLONE_CHILD_CLEARTID: 0x200000,
  CLONE_DETACHED: 0x400000,
  CLONE_UNTRACED: 0x800000,
  CLONE_CHILD_SETTID: 0x1000000,
  CLONE_NEWCGROUP: 0x2000000,
  CLONE_NEWUTS: 0x4000000,
  CLONE_NEWIPC: 0x8000000,
  CLONE_NEWUSER: 0x10000000,
  CLONE_NEWPID: 0x20000000,
  CLONE_NEWNET: 0x40000000,
  CLONE_IO: 0x80000000,
  CLONE_NEWTIME: 0x80,
  CLONE_CLEAR_SIGHAND: 0x100000000,
  CLONE_INTO_CGROUP: 0x200000000,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_SCHED = {
  /** Linux 6.12, linux/sched.h */
  SCHED_EXT: 7,
} as const;

export const SCHED = {
  SCHED_NORMAL: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
  SCHED_RESET_ON_FORK: 1073741824,
  SCHED_FLAG_RESET_ON_FORK: 1,
  SCHED_FLAG_RECLAIM: 2,
  SCHED_FLAG_DL_OVERRUN: 4,
  SCHED_FLAG_KEEP_POLICY: 8,
  SCHED_FLAG_KEEP_PARAMS: 16,
  SCHED_FLAG_UTIL_CLAMP_MIN: 32,
  SCHED_FLAG_UTIL_CLAMP_MAX: 64,
  ...NEWER_SCHED,
} as const;

export const IOPRIO = {
  IOPRIO_CLASS_SHIFT: 13,
  IOPRIO_CLASS_NONE: 0,
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
  IOPRIO_WHO_PROCESS: 1,
  IOPRIO_WHO_PGRP: 2,
  IOPRIO_WHO_USER: 3,
} as const;

export const schedAbi = defineAbi({
  headers: ['linux/sched.h', 'linux/sched/types.h', 'linux/ioprio.h'],
  constants: { ...CLONE, ...SCHED, ...IOPRIO },
  unlisted: { ...NEWER_SCHED },
  structs: {
    clone_args: {
      size: 88,
      fields: {
        flags: [0, 'u64'],
        pidfd: [8, 'addr'],
        child_tid: [16, 'addr'],
        parent_tid: [24, 'addr'],
        exit_signal: [32, 'u64'],
        stack: [40, 'addr'],
        stack_size: [48, 'u64'],
        tls: [56, 'addr'],
        set_tid: [64, 'addr'],
        set_tid_size: [72, 'u64'],
        cgroup: [80, 'u64'],
      },
    },
    sched_attr: {
      size: 56,
      fields: {
        size: [0, 'u32'],
        sched_policy: [4, 'u32'],
        sched_flags: [8, 'u64'],
        sched_nice: [16, 'i32'],
        sched_priority: [20, 'u32'],
        sched_runtime: [24, 'u64'],
        sched_deadline: [32, 'u64'],
        sched_period: [40, 'u64'],
        sched_util_min: [48, 'u32'],
        sched_util_max: [52, 'u32'],
      },
    },
  },
});
