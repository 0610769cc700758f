/** What stands in the notes of a core file: core(5). */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

export const procfsAbi = defineAbi({
  headers: ['stdint.h', 'sys/procfs.h'],
  constants: { ELF_PRARGSZ: 80 },
  structs: {
    elf_prstatus: {
      size: 336,
      fields: {
        'pr_info.si_signo': [0, 'i32'],
        pr_cursig: [12, 'i16'],
        pr_sigpend: [16, 'u64'],
        pr_sighold: [24, 'u64'],
        pr_pid: [32, 'i32'],
        pr_ppid: [36, 'i32'],
        pr_pgrp: [40, 'i32'],
        pr_sid: [44, 'i32'],
        pr_reg: [112, bytes(216)],
        pr_fpvalid: [328, 'i32'],
      },
    },
    elf_prpsinfo: {
      size: 136,
      fields: {
        pr_state: [0, 'i8'],
        pr_sname: [1, 'i8'],
        pr_zomb: [2, 'i8'],
        pr_nice: [3, 'i8'],
        pr_flag: [8, 'u64'],
        pr_uid: [16, 'u32'],
        pr_gid: [20, 'u32'],
        pr_pid: [24, 'i32'],
        pr_ppid: [28, 'i32'],
        pr_pgrp: [32, 'i32'],
        pr_sid: [36, 'i32'],
        pr_fname: [40, bytes(16)],
        pr_psargs: [56, bytes(80)],
      },
    },
    // Those of a 32-bit program (compat_elf_prstatus, compat_elf_prpsinfo in linux/elfcore-compat.h), which 64-bit headers do
    // not have.
    elf_prstatus_i386: {
      size: 144,
      fields: {
        'pr_info.si_signo': [0, 'i32'],
        pr_cursig: [12, 'i16'],
        pr_sigpend: [16, 'u32'],
        pr_sighold: [20, 'u32'],
        pr_pid: [24, 'i32'],
        pr_ppid: [28, 'i32'],
        pr_pgrp: [32, 'i32'],
        pr_sid: [36, 'i32'],
        pr_reg: [72, bytes(68)],
        pr_fpvalid: [140, 'i32'],
      },
      definition: `struct elf_prstatus_i386 {
        struct { int32_t si_signo, si_code, si_errno; } pr_info;
        int16_t pr_cursig; uint32_t pr_sigpend, pr_sighold; int32_t pr_pid, pr_ppid, pr_pgrp, pr_sid;
        struct { int32_t seconds, microseconds; } pr_times[4]; uint8_t pr_reg[17 * 4]; int32_t pr_fpvalid; };`,
    },
    elf_prpsinfo_i386: {
      size: 124,
      fields: {
        pr_state: [0, 'i8'],
        pr_sname: [1, 'i8'],
        pr_zomb: [2, 'i8'],
        pr_nice: [3, 'i8'],
        pr_flag: [4, 'u32'],
        pr_uid: [8, 'u16'],
        pr_gid: [10, 'u16'],
        pr_pid: [12, 'i32'],
        pr_ppid: [16, 'i32'],
        pr_pgrp: [20, 'i32'],
        pr_sid: [24, 'i32'],
        pr_fname: [28, bytes(16)],
        pr_psargs: [44, bytes(80)],
      },
      definition: `struct elf_prpsinfo_i386 {
        int8_t pr_state, pr_sname, pr_zomb, pr_nice; uint32_t pr_flag; uint16_t pr_uid, pr_gid;
        int32_t pr_pid, pr_ppid, pr_pgrp, pr_sid; char pr_fname[16], pr_psargs[80]; };`,
    },
  },
});
