/**
 * THREAD and CPU against C structs of the layouts of 2008 (DESIGN, "The 2008 records") and of our extension, and the orders
 * that they rely on against the system's own structs. Every place of ours is found by encoding, not read from the source.
 */
import { describe, expect, it } from 'vitest';
import {
  CPU_BASE_SIZE,
  type CpuState,
  encodeCpu,
  encodeMemoryContext,
  encodeThread,
} from '../../src/arch/x86/records.ts';
import { type RegisterName, register, registerNames } from '../../src/arch/x86/registers.ts';
import { MAX_LOCAL_DESCRIPTORS, USER_DESC_SIZE, userDescriptors } from '../../src/arch/x86/segments.ts';
import { HEADER_SIZE, LEGACY_SIZE, xcr0Of } from '../../src/arch/x86/xstate.ts';
import { factsInC, hasCompiler } from './c-program.ts';
import { changedPlace, type Place, placesInC } from './record-probe.ts';

const headers = ['stdint.h', 'sys/user.h'];
const records = [
  `struct cr_hdr_thread {
    int16_t gdt_entry_tls_entries, sizeof_tls_array, ntls, padding;
    uint8_t tls_array[3][8];
  };`,
  `struct cr_hdr_cpu {
    uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
    uint64_t ds, es, fs, gs;
    uint64_t debugreg[8];
    uint16_t uses_debug, used_math, has_fxsr, padding;
    struct user_fpregs_struct fpu;
  };`,
  // Ours, behind the layout of 2008.
  `struct cpu_record {
    struct cr_hdr_cpu base;
    uint64_t fs_base, gs_base, xcr0;
    uint32_t xstate_size, component_count;
    struct { uint32_t index, offset, size; } components[2];
    uint8_t behind_fxsave[64 + 256 + 8];
  };`,
];

/** Registers whose names of 2008 are not those of user_regs_struct without the r. */
const nameIn2008 = (name: RegisterName): string =>
  name === 'eflags' ? 'flags' : name.replace(/^(orig_)?r([a-z])/, '$1$2');

const ONES = 0xffff_ffff_ffff_ffffn;
const inBase = registerNames.filter((name) => name !== 'fs_base' && name !== 'gs_base');
const XSTATE_SIZE = LEGACY_SIZE + HEADER_SIZE + 256 + 8;
const noComponent = { index: 0, offset: 0, sizeBytes: 0 };

/** One component is in use, whatever is changed: `used_math` stays the same. */
const emptyState = (): Buffer => Buffer.alloc(XSTATE_SIZE).fill(1, LEGACY_SIZE, LEGACY_SIZE + 1);

const empty: CpuState = {
  registers: new BigUint64Array(registerNames.length),
  debugRegisters: Array.from({ length: 8 }, () => 0n),
  xstate: emptyState(),
  layout: { xcr0: 0n, sizeBytes: XSTATE_SIZE, components: [noComponent, noComponent] },
};

const placeOf = (change: Partial<CpuState>): Place =>
  changedPlace(encodeCpu(empty), encodeCpu({ ...empty, ...change }));

function registerPlace(name: RegisterName): Place {
  const registers = empty.registers.slice();
  registers[register[name]] = ONES;
  return placeOf({ registers });
}

/** The low half of dr7 would show in `uses_debug` too. */
function debugRegisterPlace(index: number): Place {
  const filled = (value: bigint): CpuState => ({ ...empty, debugRegisters: empty.debugRegisters.with(index, value) });
  const before = index === 7 ? 1n : 0n;
  return changedPlace(encodeCpu(filled(before)), encodeCpu(filled(index === 7 ? ONES - 1n : ONES)));
}

const xstatePlace = (start: number, end: number): Place => placeOf({ xstate: emptyState().fill(0xff, start, end) });

function componentPlace(at: number, field: 'index' | 'offset' | 'sizeBytes'): Place {
  const components = [noComponent, noComponent].with(at, { ...noComponent, [field]: 0xffff_ffff });
  return placeOf({ layout: { ...empty.layout, components } });
}

describe('a CPU record', () => {
  const places2008: Record<string, Place> = {
    ...Object.fromEntries(inBase.map((name) => [nameIn2008(name), registerPlace(name)])),
    ...Object.fromEntries([0, 1, 2, 3, 4, 5, 6, 7].map((at) => [`debugreg[${at}]`, debugRegisterPlace(at)])),
    fpu: xstatePlace(0, LEGACY_SIZE),
    'fpu.mxcsr': xstatePlace(24, 28),
    'fpu.st_space': xstatePlace(32, 160),
    'fpu.xmm_space': xstatePlace(160, 416),
  };

  it('has every field of 2008 where it was', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    expect(places2008).toEqual(placesInC(headers, records, 'struct cr_hdr_cpu', Object.keys(places2008)));
  });

  it('has the three flags of 2008 in 16 bits each', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const names = ['uses_debug', 'used_math', 'has_fxsr', 'padding'];
    const places = placesInC(headers, records, 'struct cr_hdr_cpu', names);
    const flags = (dr7: bigint, xstate = empty.xstate): (number | string)[] => {
      const bytes = encodeCpu({ ...empty, xstate, debugRegisters: empty.debugRegisters.with(7, dr7) });
      return names.map((name) => {
        const { offset = 0, size } = places[name] ?? {};
        return size === 2 ? bytes.readUInt16LE(offset) : `${name} has ${size} bytes`;
      });
    };
    expect(flags(0n)).toEqual([0, 1, 1, 0]);
    expect(flags(0x400n)).toEqual([0, 1, 1, 0]);
    expect(flags(0x401n)).toEqual([1, 1, 1, 0]);
    expect(flags(0x80n)).toEqual([1, 1, 1, 0]);
    expect(flags(0n, Buffer.alloc(XSTATE_SIZE))).toEqual([0, 0, 1, 0]);
  });

  it('has the fields of our extension behind those of 2008, and the rest of the xstate at its end', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const ours: Record<string, Place> = {
      fs_base: registerPlace('fs_base'),
      gs_base: registerPlace('gs_base'),
      xcr0: placeOf({ layout: { ...empty.layout, xcr0: ONES } }),
      ...Object.fromEntries(
        [0, 1].flatMap((at) => [
          [`components[${at}].index`, componentPlace(at, 'index')],
          [`components[${at}].offset`, componentPlace(at, 'offset')],
          [`components[${at}].size`, componentPlace(at, 'sizeBytes')],
        ]),
      ),
      behind_fxsave: xstatePlace(LEGACY_SIZE, XSTATE_SIZE),
    };
    const counts = ['xstate_size', 'component_count'];
    const places = placesInC(headers, records, 'struct cpu_record', [...Object.keys(ours), ...counts]);
    expect(places).toMatchObject(ours);
    const encoded = encodeCpu(empty);
    expect(counts.map((name) => encoded.readUInt32LE(places[name]?.offset))).toEqual([XSTATE_SIZE, 2]);
    expect(counts.map((name) => places[name]?.size)).toEqual([4, 4]);
  });

  it('has the size of 2008 before our extension', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const facts = factsInC(headers, records, [
      'sizeof(struct cr_hdr_cpu)',
      'offsetof(struct cpu_record, fs_base)',
      'sizeof(struct cpu_record)',
      'sizeof(struct user_fpregs_struct)',
    ]);
    expect([...facts.values()].map(Number)).toEqual([784, CPU_BASE_SIZE, encodeCpu(empty).length, LEGACY_SIZE]);
  });
});

describe('a THREAD record', () => {
  const none = new Uint8Array(24);

  it('has the layout of 2008', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const fields = ['gdt_entry_tls_entries', 'sizeof_tls_array', 'ntls', 'padding', 'tls_array'];
    const places = placesInC(headers, records, 'struct cr_hdr_thread', fields);
    const encoded = encodeThread(none);
    const numbers = fields.slice(0, 4).map((field) => encoded.readInt16LE(places[field]?.offset));
    expect(numbers).toEqual([3, 24, 0, 0]);
    expect(encoded.length).toBe((places['tls_array']?.offset ?? 0) + (places['tls_array']?.size ?? 0));
  });

  it.for([0, 1, 2])('has descriptor %d at its place in the array', (slot, context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    // Two descriptors that are not empty, so that their number stays the same.
    const before = new Uint8Array(24).fill(1);
    const after = before.slice().fill(2, slot * 8, slot * 8 + 8);
    expect(changedPlace(encodeThread(before), encodeThread(after))).toEqual(
      placesInC(headers, records, 'struct cr_hdr_thread', [`tls_array[${slot}]`])[`tls_array[${slot}]`],
    );
  });
});

describe('an MM_CONTEXT record', () => {
  it('has the layout of 2008, and the LDT behind it', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const definition =
      'struct cr_hdr_mm_context { int16_t ldt_entry_size, nldt; int32_t padding; uint8_t ldt[1][8]; };';
    const fields = ['ldt_entry_size', 'nldt', 'padding', 'ldt'];
    const places = placesInC(headers, [definition], 'struct cr_hdr_mm_context', fields);
    const encoded = encodeMemoryContext(new Uint8Array(8).fill(7));
    expect(fields.slice(0, 2).map((field) => encoded.readInt16LE(places[field]?.offset))).toEqual([8, 1]);
    expect(changedPlace(encodeMemoryContext(new Uint8Array(8)), encoded)).toEqual(places['ldt']);
    expect(encoded).toHaveLength(16);
  });
});

describe('what the records are made from', () => {
  it('is a register file in the order of user_regs_struct', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const places = placesInC(headers, [], 'struct user_regs_struct', registerNames);
    expect(Object.fromEntries(registerNames.map((name, index) => [name, { offset: index * 8, size: 8 }]))).toEqual(
      places,
    );
    const total = factsInC(headers, [], ['sizeof(struct user_regs_struct)']);
    expect([...total.values()]).toEqual([BigInt(registerNames.length * 8)]);
  });

  it('is a struct user_desc for each segment, with its bit-fields where C has them', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const flags = ['seg_32bit', 'contents', 'read_exec_only', 'limit_in_pages', 'seg_not_present', 'useable'];
    const word = (field: string): string => `({ struct user_desc d = {0}; d.${field} = ~0; ((unsigned *)&d)[3]; })`;
    const values = factsInC(['asm/ldt.h'], [], [...flags.map(word), 'sizeof(struct user_desc)', 'LDT_ENTRIES']);
    expect([...values.values()].map(Number)).toEqual([1, 6, 8, 16, 32, 64, USER_DESC_SIZE, MAX_LOCAL_DESCRIPTORS]);
    // A descriptor with all of these bits: 32-bit, conforming, not readable, in pages, not present, useable.
    const [told] = userDescriptors(Buffer.from([0, 0, 0, 0, 0, 0x7d, 0xd0, 1]));
    expect(told?.bytes.readUInt32LE(12)).toBe(0x7f);
    const places = placesInC(['asm/ldt.h'], [], 'struct user_desc', ['entry_number', 'base_addr', 'limit']);
    expect(Object.values(places).map(({ offset }) => offset)).toEqual([0, 4, 8]);
  });

  it('is an XSAVE image whose XCR0 stands in the bytes that FXSAVE leaves to software', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const { sw_reserved } = placesInC(['asm/sigcontext.h'], [], 'struct _fpstate_64', ['sw_reserved']);
    const image = Buffer.alloc(XSTATE_SIZE);
    image.writeBigUInt64LE(0x2e7n, sw_reserved?.offset);
    expect(xcr0Of(image)).toBe(0x2e7n);
    const parts = ['sizeof(struct _fpstate_64)', 'sizeof(struct _header)'];
    expect([...factsInC(['asm/sigcontext.h'], [], parts).values()].map(Number)).toEqual([LEGACY_SIZE, HEADER_SIZE]);
  });
});
