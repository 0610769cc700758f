/** seccomp(2), and the classic BPF that its filters are written in. */
import { defineAbi } from './define-abi.ts';

/** Operations, flags, modes, and the actions that a filter answers with. */
export const SECCOMP = {
  SECCOMP_MODE_DISABLED: 0,
  SECCOMP_MODE_STRICT: 1,
  SECCOMP_MODE_FILTER: 2,
  SECCOMP_SET_MODE_FILTER: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_RET_KILL_PROCESS: 0x8000_0000,
  SECCOMP_RET_KILL_THREAD: 0,
  SECCOMP_RET_TRAP: 0x0003_0000,
  SECCOMP_RET_ERRNO: 0x0005_0000,
  SECCOMP_RET_USER_NOTIF: 0x7fc0_0000,
  SECCOMP_RET_TRACE: 0x7ff0_0000,
  SECCOMP_RET_LOG: 0x7ffc_0000,
  SECCOMP_RET_ALLOW: 0x7fff_0000,
  SECCOMP_RET_ACTION_FULL: 0xffff_0000,
  SECCOMP_RET_DATA: 0xffff,
} as const;

/** The parts of an instruction's code, and the longest program. */
export const BPF = {
  BPF_LD: 0x00,
  BPF_LDX: 0x01,
  BPF_ST: 0x02,
  BPF_STX: 0x03,
  BPF_ALU: 0x04,
  BPF_JMP: 0x05,
  BPF_RET: 0x06,
  BPF_MISC: 0x07,
  BPF_W: 0x00,
  BPF_IMM: 0x00,
  BPF_ABS: 0x20,
  BPF_MEM: 0x60,
  BPF_LEN: 0x80,
  BPF_ADD: 0x00,
  BPF_SUB: 0x10,
  BPF_MUL: 0x20,
  BPF_DIV: 0x30,
  BPF_OR: 0x40,
  BPF_AND: 0x50,
  BPF_LSH: 0x60,
  BPF_RSH: 0x70,
  BPF_NEG: 0x80,
  BPF_XOR: 0xa0,
  BPF_JA: 0x00,
  BPF_JEQ: 0x10,
  BPF_JGT: 0x20,
  BPF_JGE: 0x30,
  BPF_JSET: 0x40,
  BPF_K: 0x00,
  BPF_X: 0x08,
  BPF_A: 0x10,
  BPF_TAX: 0x00,
  BPF_TXA: 0x80,
  BPF_MAXINSNS: 4096,
  BPF_MEMWORDS: 16,
} as const;

export const seccompAbi = defineAbi({
  headers: ['linux/seccomp.h', 'linux/filter.h'],
  constants: { ...SECCOMP, ...BPF },
  structs: {
    seccomp_data: {
      size: 64,
      fields: {
        nr: [0, 'i32'],
        arch: [4, 'u32'],
        instruction_pointer: [8, 'u64'],
      },
    },
    sock_filter: {
      size: 8,
      fields: {
        code: [0, 'u16'],
        jt: [2, 'u8'],
        jf: [3, 'u8'],
        k: [4, 'u32'],
      },
    },
    sock_fprog: {
      size: 16,
      fields: {
        len: [0, 'u16'],
        filter: [8, 'u64'],
      },
    },
  },
});
