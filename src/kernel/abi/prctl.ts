/** prctl(2) and arch_prctl(2). */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_PR = {
  /** Linux 6.3, linux/prctl.h */
  PR_SET_MDWE: 65,
  /** Linux 6.3, linux/prctl.h */
  PR_GET_MDWE: 66,
  /** Linux 6.4, linux/prctl.h */
  PR_SET_MEMORY_MERGE: 67,
  /** Linux 6.4, linux/prctl.h */
  PR_GET_MEMORY_MERGE: 68,
  /** Linux 6.15, linux/prctl.h */
  PR_TIMER_CREATE_RESTORE_IDS: 77,
} as const;

export const PR = {
  PR_SET_PDEATHSIG: 1,
  PR_GET_PDEATHSIG: 2,
  PR_GET_DUMPABLE: 3,
  PR_SET_DUMPABLE: 4,
  PR_GET_KEEPCAPS: 7,
  PR_SET_KEEPCAPS: 8,
  PR_GET_TIMING: 13,
  PR_SET_TIMING: 14,
  PR_SET_NAME: 15,
  PR_GET_NAME: 16,
  PR_GET_SECCOMP: 21,
  PR_SET_SECCOMP: 22,
  PR_CAPBSET_READ: 23,
  PR_CAPBSET_DROP: 24,
  PR_GET_TSC: 25,
  PR_SET_TSC: 26,
  PR_TSC_ENABLE: 1,
  PR_TSC_SIGSEGV: 2,
  PR_GET_SECUREBITS: 27,
  PR_SET_SECUREBITS: 28,
  PR_SET_TIMERSLACK: 29,
  PR_GET_TIMERSLACK: 30,
  PR_MCE_KILL: 33,
  PR_MCE_KILL_GET: 34,
  PR_SET_MM: 35,
  PR_SET_MM_START_CODE: 1,
  PR_SET_MM_END_CODE: 2,
  PR_SET_MM_START_DATA: 3,
  PR_SET_MM_END_DATA: 4,
  PR_SET_MM_START_STACK: 5,
  PR_SET_MM_START_BRK: 6,
  PR_SET_MM_BRK: 7,
  PR_SET_MM_ARG_START: 8,
  PR_SET_MM_ARG_END: 9,
  PR_SET_MM_ENV_START: 10,
  PR_SET_MM_ENV_END: 11,
  PR_SET_MM_AUXV: 12,
  PR_SET_MM_EXE_FILE: 13,
  PR_SET_MM_MAP: 14,
  PR_SET_MM_MAP_SIZE: 15,
  PR_SET_PTRACER: 1499557217,
  PR_SET_CHILD_SUBREAPER: 36,
  PR_GET_CHILD_SUBREAPER: 37,
  PR_SET_NO_NEW_PRIVS: 38,
  PR_GET_NO_NEW_PRIVS: 39,
  PR_GET_TID_ADDRESS: 40,
  PR_SET_THP_DISABLE: 41,
  PR_GET_THP_DISABLE: 42,
  PR_CAP_AMBIENT: 47,
  PR_CAP_AMBIENT_IS_SET: 1,
  PR_CAP_AMBIENT_RAISE: 2,
  PR_CAP_AMBIENT_LOWER: 3,
  PR_CAP_AMBIENT_CLEAR_ALL: 4,
  PR_GET_SPECULATION_CTRL: 52,
  PR_SET_SPECULATION_CTRL: 53,
  PR_SPEC_STORE_BYPASS: 0,
  PR_SPEC_INDIRECT_BRANCH: 1,
  PR_SPEC_L1D_FLUSH: 2,
  PR_SET_IO_FLUSHER: 57,
  PR_GET_IO_FLUSHER: 58,
  PR_SET_SYSCALL_USER_DISPATCH: 59,
  PR_SYS_DISPATCH_OFF: 0,
  PR_SYS_DISPATCH_ON: 1,
  PR_SCHED_CORE: 62,
  PR_SCHED_CORE_GET: 0,
  PR_SCHED_CORE_CREATE: 1,
  PR_SCHED_CORE_SHARE_TO: 2,
  PR_SCHED_CORE_SHARE_FROM: 3,
  PR_SET_VMA: 1398164801,
  PR_SET_VMA_ANON_NAME: 0,
  ...NEWER_PR,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_ARCH = {
  /** Linux 6.6, asm/prctl.h */
  ARCH_SHSTK_STATUS: 0x5005,
} as const;

export const ARCH = {
  ARCH_SET_GS: 0x1001,
  ARCH_SET_FS: 0x1002,
  ARCH_GET_FS: 0x1003,
  ARCH_GET_GS: 0x1004,
  ARCH_GET_CPUID: 0x1011,
  ARCH_SET_CPUID: 0x1012,
  ARCH_GET_XCOMP_SUPP: 0x1021,
  ARCH_GET_XCOMP_PERM: 0x1022,
  ARCH_REQ_XCOMP_PERM: 0x1023,
  ARCH_MAP_VDSO_X32: 0x2001,
  ARCH_MAP_VDSO_32: 0x2002,
  ARCH_MAP_VDSO_64: 0x2003,
  ...NEWER_ARCH,
} as const;

export const prctlAbi = defineAbi({
  headers: ['linux/prctl.h', 'asm/prctl.h'],
  constants: { ...PR, ...ARCH },
  unlisted: { ...NEWER_PR, ...NEWER_ARCH },
  structs: {
    prctl_mm_map: {
      size: 104,
      fields: {
        start_code: [0, 'addr'],
        end_code: [8, 'addr'],
        start_data: [16, 'addr'],
        end_data: [24, 'addr'],
        start_brk: [32, 'addr'],
        brk: [40, 'addr'],
        start_stack: [48, 'addr'],
        arg_start: [56, 'addr'],
        arg_end: [64, 'addr'],
        env_start: [72, 'addr'],
        env_end: [80, 'addr'],
        auxv: [88, 'addr'],
        auxv_size: [96, 'u32'],
        exe_fd: [100, 'u32'],
      },
    },
  },
});
