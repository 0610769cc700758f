/** bpf(2): what a program needs that reads the kernel's memory. */
import { defineAbi } from './define-abi.ts';

export const BPF_CALL = {
  BPF_MAP_CREATE: 0,
  BPF_PROG_LOAD: 5,
  BPF_PROG_TEST_RUN: 10,
  BPF_LINK_CREATE: 28,
  BPF_ITER_CREATE: 33,
  BPF_PROG_TYPE_TRACING: 26,
  BPF_PROG_TYPE_SYSCALL: 31,
  BPF_TRACE_ITER: 28,
  BPF_F_SLEEPABLE: 0x10,
  BPF_MAP_TYPE_PERCPU_ARRAY: 6,
  BPF_PSEUDO_MAP_FD: 1,
  BPF_FUNC_get_current_task: 35,
  BPF_FUNC_probe_read_kernel: 113,
  BPF_FUNC_seq_write: 127,
  BPF_FUNC_map_lookup_percpu_elem: 195,
  BPF_FUNC_kallsyms_lookup_name: 179,
} as const;

export const bpfAbi = defineAbi({
  headers: ['linux/bpf.h'],
  constants: { ...BPF_CALL },
  structs: {
    bpf_insn: {
      size: 8,
      fields: { code: [0, 'u8'], off: [2, 'i16'], imm: [4, 'i32'] },
    },
  },
});
