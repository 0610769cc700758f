/**
 * THREAD and CPU against C structs of the layouts of 2008 and of our extension (docs/image-format.md, DESIGN section 6),
 * and against the system's own structs where a record is one. Every offset is found by encoding, not read from the source.
 */
import { describe, expect, it } from 'vitest';
import {
  CPU_BASE_SIZE,
  type CpuState,
  DEBUG_REGISTER_COUNT,
  encodeCpu,
  encodeThread,
} from '../../src/arch/x86/records.ts';
import { type RegisterName, registerNames, withRegisters } from '../../src/arch/x86/registers.ts';
import { HEADER_SIZE, LEGACY_SIZE } from '../../src/arch/x86/xstate.ts';
import type { AbiModule } from '../../src/kernel/abi/define-abi.ts';
import { factsOfHeaders, hasCompiler } from './c-program.ts';
import { changedPlace, type Place } from './record-probe.ts';

const cRecords: AbiModule = {
  headers: ['stdint.h', 'sys/user.h'],
  constants: {},
  structs: {
    cr_hdr_thread: {
      definition: `struct cr_hdr_thread {
        int16_t gdt_entry_tls_entries; int16_t sizeof_tls_array; int16_t ntls; int16_t padding;
        uint64_t tls[3];
      };`,
      size: 0,
      fields: Object.fromEntries(
        ['gdt_entry_tls_entries', 'sizeof_tls_array', 'ntls', 'tls', 'tls[1]', 'tls[2]'].map((name) => [
          name,
          [0, 'u8'],
        ]),
      ),
    },
    cr_hdr_cpu: {
      definition: `struct cr_hdr_cpu {
        uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
        uint64_t ds, es, fs, gs;
        uint64_t debugreg0, debugreg1, debugreg2, debugreg3, debugreg4, debugreg5, debugreg6, debugreg7;
        uint16_t uses_debug, used_math, has_fxsr, padding;
        struct user_fpregs_struct fpu;
      };
      struct cpu_component { uint32_t index, offset, size; };
      struct cpu_record {
        struct cr_hdr_cpu base;
        uint64_t fs_base, gs_base, xcr0;
        uint32_t xstate_size, component_count;
        struct cpu_component components[2];
        uint8_t behind_fxsave[64 + 256 + 8];
      };`,
      size: 0,
      fields: {
        fpu: [0, 'u8'],
        'fpu.mxcsr': [0, 'u8'],
        'fpu.xmm_space': [0, 'u8'],
        ...cpuWords(),
      },
    },
    cpu_record: {
      size: 0,
      fields: Object.fromEntries(
        [
          ...['fs_base', 'gs_base', 'xcr0', 'xstate_size', 'component_count', 'behind_fxsave'],
          ...[0, 1].flatMap((at) => ['index', 'offset', 'size'].map((name) => `components[${at}].${name}`)),
        ].map((name) => [name, [0, 'u8']]),
      ),
    },
    user_regs_struct: { size: 0, fields: Object.fromEntries(registerNames.map((name) => [name, [0, 'u8']])) },
    user_fpregs_struct: { size: 0, fields: {} },
  },
};

function cpuWords(): Record<string, [number, 'u8']> {
  const debug = Array.from({ length: DEBUG_REGISTER_COUNT }, (_, index) => `debugreg${index}`);
  const flags = ['uses_debug', 'used_math', 'has_fxsr'];
  return Object.fromEntries([...Object.values(nameIn2008), ...debug, ...flags].map((name) => [name, [0, 'u8']]));
}
