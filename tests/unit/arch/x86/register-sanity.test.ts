import { describe, expect, it } from 'vitest';
import { debugRegisterFaults, registerFaults, withoutUnusedFields } from '../../../../src/arch/x86/register-sanity.ts';
import { type RegisterName, withRegisters } from '../../../../src/arch/x86/registers.ts';
import { absentAt, codeAt, dataAt, readOnlyDataAt, running, tableOf, unreadableCodeAt } from './samples.ts';

const faultsWith = (name: RegisterName, value: bigint): string[] =>
  registerFaults(withRegisters(running, { [name]: value }));

const hex = (value: bigint): string => `0x${value.toString(16)}`;

describe('registers', () => {
  it('of a running program have no fault', () => {
    expect(registerFaults(running)).toEqual([]);
  });

  const addresses = ['rip', 'rsp', 'fs_base', 'gs_base'] as const;
  const outside: [RegisterName, bigint][] = addresses.flatMap((name) =>
    [0x8000_0000_0000n, 0xffff_8000_0000_0000n, 0xffff_ffff_ff60_0000n, 2n ** 64n - 1n].map(
      (value): [RegisterName, bigint] => [name, value],
    ),
  );
  it.each(outside)('%s must be in user space: %d is not', (name, value) => {
    expect(faultsWith(name, value)).toEqual([`${name} is ${hex(value)}, outside of user space`]);
  });

  it.each(addresses)('%s may be the last page that user space has, and 0', (name) => {
    expect(faultsWith(name, 0x7fff_ffff_efffn)).toEqual([]);
    expect(faultsWith(name, 0n)).toEqual([]);
  });

  // TASK_SIZE_MAX is a page below 2^47; the kernel refuses fs_base and gs_base there, when the process is made already.
  it.each(['fs_base', 'gs_base'] as const)('%s must not be in the page before the end of 47 bits', (name) => {
    expect(faultsWith(name, 0x7fff_ffff_f000n)).toHaveLength(1);
  });

  it.each([0n, 3n, 0x10n, 0x30n, 0x32n, 0x2bn, 0x3bn, 0x7bn, 0x7n, 0x1_0033n])(
    'cs must be user code: %d is not',
    (value) => {
      expect(registerFaults(withRegisters(running, { cs: value, rip: 0x1000 }))).toEqual([
        `cs is ${hex(value)}, which is not user code`,
      ]);
    },
  );

  it('32-bit code has an instruction pointer of 32 bits', () => {
    const at = (rip: bigint): string[] => registerFaults(withRegisters(running, { cs: 0x23, rip }));
    expect(at(0xffff_ffffn)).toEqual([]);
    expect(at(0x1_0000_0000n)).toEqual(['rip is 0x100000000, where only 64-bit code can be']);
  });

  it.each([0n, 3n, 0x18n, 0x2an, 0x23n, 0x33n, 0x7bn, 0x7n, 0x1_002bn])('ss must be user data: %d is not', (value) => {
    expect(faultsWith('ss', value)).toEqual([`ss is ${hex(value)}, which is not user data`]);
  });

  const segments = ['ds', 'es', 'fs', 'gs'] as const;
  it.each(segments)('%s may be empty, user data, or user code', (name) => {
    for (const value of [0n, 3n, 0x23n, 0x2bn, 0x33n, 0x7bn]) expect(faultsWith(name, value)).toEqual([]);
  });

  const strangers: [RegisterName, bigint][] = segments.flatMap((name) =>
    [1n, 2n, 0x18n, 0x28n, 0x43n, 0x63n, 0x6bn, 0x73n, 0x7n, 0xffffn, 0xf_002bn].map(
      (value): [RegisterName, bigint] => [name, value],
    ),
  );
  it.each(strangers)('%s must name no other segment: %d is refused', (name, value) => {
    expect(faultsWith(name, value)).toEqual([`${name} is ${hex(value)}, which names no segment of the program`]);
  });

  describe('may name segments of the program:', () => {
    const tables = {
      threadAreas: tableOf([dataAt(1), undefined, readOnlyDataAt(2)]),
      localDescriptors: tableOf([dataAt(3), codeAt(4), unreadableCodeAt(5), absentAt(6), undefined, readOnlyDataAt(7)]),
    };
    const faults = (name: RegisterName, selector: number): string[] =>
      registerFaults(withRegisters(running, { [name]: selector, rip: 0x1000 }), tables);
    const local = (entry: number): number => (entry << 3) | 7;
    const slots = { data: 0x63, empty: 0x6b, readOnly: 0x73 };

    it.each(segments)('%s any that is present and can be read', (name) => {
      const good = [slots.data, slots.readOnly, local(0), local(1), local(5)];
      expect(good.filter((selector) => faults(name, selector).length > 0)).toEqual([]);
      const bad = [slots.empty, local(2), local(3), local(4), local(6), local(8191), slots.data & ~3, local(0) & ~1];
      expect(bad.filter((selector) => faults(name, selector).length === 0)).toEqual([]);
    });

    it('ss data that can be written', () => {
      const all = [slots.data, slots.empty, slots.readOnly, ...[0, 1, 2, 3, 4, 5, 6].map(local)];
      expect(all.filter((selector) => faults('ss', selector).length === 0)).toEqual([slots.data, local(0)]);
    });

    it('cs code', () => {
      const all = [slots.data, slots.empty, slots.readOnly, ...[0, 1, 2, 3, 4, 5, 6].map(local)];
      expect(all.filter((selector) => faults('cs', selector).length === 0)).toEqual([local(1), local(2)]);
    });
  });

  const userFlags = { CF: 0, PF: 2, AF: 4, ZF: 6, SF: 7, TF: 8, DF: 10, OF: 11, NT: 14, RF: 16, AC: 18, ID: 21 };
  it.each(Object.entries(userFlags))('eflags may have %s', (_, bit) => {
    expect(faultsWith('eflags', 0x202n | (1n << BigInt(bit)))).toEqual([]);
  });

  const otherBits = Array.from({ length: 64 }, (_, bit) => bit).filter(
    (bit) => !Object.values(userFlags).includes(bit) && bit !== 1 && bit !== 9,
  );
  it('eflags must have no other bit: IOPL, VM, VIF, VIP and all reserved ones are refused', () => {
    expect(otherBits).toEqual(expect.arrayContaining([12, 13, 17, 19, 20, 3, 5, 15, 22, 31, 32, 63]));
    for (const bit of otherBits) {
      const value = 0x202n | (1n << BigInt(bit));
      expect(faultsWith('eflags', value), `bit ${bit}`).toEqual([
        `eflags is ${hex(value)}, with bits that no program may set`,
      ]);
    }
  });

  it('are all looked at: every fault is told', () => {
    const file = withRegisters(running, { rip: -1, cs: 0x10, ss: 0x18, ds: 7, eflags: 0x3202 });
    expect(registerFaults(file).map((fault) => fault.split(' ')[0])).toEqual(['rip', 'cs', 'ss', 'ds', 'eflags']);
  });
});

describe('debug registers', () => {
  const unused = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n];

  it('without breakpoints have no fault, before the first use too', () => {
    expect(debugRegisterFaults(unused)).toEqual([]);
    expect(debugRegisterFaults(unused.map(() => 0n))).toEqual([]);
  });

  it('may have four breakpoints of every kind and length', () => {
    // Execution, one byte that is written, four that are read or written, eight that are written.
    const values = [0x40_1001n, 0x1n, 0x7fff_ffff_effcn, 0x8n, 0n, 0n, 0n, 0x9f10_07ffn];
    expect(debugRegisterFaults(values)).toEqual([]);
  });

  it.each([
    ['for a port', 0x2_0001n, 'dr0 is for a port'],
    ['for an instruction of two bytes', 0x40_0004n, 'dr1 is for an instruction of 2 bytes'],
    ['not aligned to four bytes', 0xd00_0010n, 'dr2 is not aligned to the 4 bytes that it covers'],
    ['not aligned to eight bytes', 0x9000_0080n, 'dr3 is not aligned to the 8 bytes that it covers'],
  ])('must not have a breakpoint %s', (_, dr7, fault) => {
    const values = [0x1004n, 0x1004n, 0x1002n, 0x1004n, 0n, 0n, 0n, dr7];
    expect(debugRegisterFaults(values)).toEqual([fault]);
    // Unless it is not enabled: then it is set without its fields.
    expect(debugRegisterFaults(values.with(7, dr7 & ~0xffn))).toEqual([]);
    expect(withoutUnusedFields(dr7 & ~0xffn)).toBe(0n);
    expect(withoutUnusedFields(dr7)).toBe(dr7);
  });

  it.each([0, 1, 2, 3])('dr%d must be in user space', (index) => {
    for (const value of [0x8000_0000_0000n, 0xffff_ffff_8100_0000n]) {
      expect(debugRegisterFaults(unused.with(index, value))).toEqual([`dr${index} is outside of user space`]);
    }
  });

  it.each([11, 12, 13, 14, 15, 32, 63])('dr7 must not have bit %d', (bit) => {
    const value = 0x400n | (1n << BigInt(bit));
    expect(debugRegisterFaults(unused.with(7, value))).toEqual([`dr7 is ${hex(value)}, with reserved bits`]);
  });

  // They are passed over by a restart without a word.
  it.each([4, 5])('dr%d, which is none, must be zero', (index) => {
    expect(debugRegisterFaults(unused.with(index, 1n))).toHaveLength(1);
  });
});
