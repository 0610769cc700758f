import { describe, expect, it } from 'vitest';
import { CPU_BASE_SIZE, type CpuState, decodeCpu, extendBaseCpu } from '../../../../src/arch/x86/records.ts';
import { encodeCpu2008, lostIn2008 } from '../../../../src/arch/x86/records-2008.ts';
import { type RegisterName, withRegisters } from '../../../../src/arch/x86/registers.ts';
import { noSegments, segmentBase } from '../../../../src/arch/x86/segments.ts';
import { codeAt, dataAt, running, smallLayout, stateOf, tableOf } from './samples.ts';

const segments = {
  threadAreas: tableOf([dataAt(0xf7fb_95c0), undefined, dataAt(0x1234_5000)]),
  localDescriptors: tableOf([undefined, codeAt(0x40_0000)]),
};

function state(changes: Partial<Record<RegisterName, bigint>> = {}, used: readonly number[] = []): CpuState {
  const registers = withRegisters(running, { cs: 0x23n, fs_base: 0n, ...changes });
  const debugRegisters = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n, 0n];
  return { registers, debugRegisters, xstate: stateOf(smallLayout, used), layout: smallLayout };
}

const AVX = 576;
const KEYS = 832;

describe('a CPU record of 2008', () => {
  it('gives back registers, FXSAVE, and the bases of the segments that fs and gs name', () => {
    const before = state({ gs: 0x63n, gs_base: 0xf7fb_95c0n, fs: 0xfn, fs_base: 0x40_0000n, r15: 77n });
    expect(lostIn2008(before, segments)).toEqual([]);
    const bytes = encodeCpu2008(before);
    expect(bytes).toHaveLength(CPU_BASE_SIZE);
    const after = decodeCpu(extendBaseCpu(bytes, segments), 'CPU');
    expect(after.registers).toEqual(before.registers);
    expect(after.debugRegisters).toEqual(before.debugRegisters);
    expect(after.xstate.subarray(0, 464).equals(before.xstate.subarray(0, 464))).toBe(true);
    expect(after.xstate.readBigUInt64LE(512)).toBe(3n);
  });

  it('has zeros where FXSAVE leaves bytes to software', () => {
    const before = state();
    expect(before.xstate.readBigUInt64LE(464)).not.toBe(0n);
    expect(encodeCpu2008(before).subarray(-48)).toEqual(Buffer.alloc(48));
  });

  it('has no place for another base of fs or gs', () => {
    expect(lostIn2008(state({ fs_base: 0x1000n }), segments)).toEqual([
      expect.stringContaining('the base of fs (0x1000)'),
    ]);
    expect(lostIn2008(state({ gs: 0x63n, gs_base: 0n }), segments)).toEqual([
      expect.stringContaining('the base of gs'),
    ]);
  });

  it('has no place for AVX in use, and needs none for what is as it begins', () => {
    const used = state({}, [2]);
    used.xstate.fill(0, AVX, AVX + 256);
    expect(lostIn2008(used, segments)).toEqual([]);
    used.xstate.writeUInt8(1, AVX + 255);
    expect(lostIn2008(used, segments)).toEqual(['the state of AVX']);
  });

  it('has no place for rights of protection keys but those that execve gives', () => {
    const used = state({}, [9]);
    used.xstate.writeBigUInt64LE(0x5555_5554n, KEYS);
    expect(lostIn2008(used, segments)).toEqual([]);
    used.xstate.writeBigUInt64LE(0n, KEYS);
    expect(lostIn2008(used, segments)).toEqual(['the state of protection keys (PKRU)']);
  });
});

describe('the base of a segment', () => {
  it('is that of its descriptor', () => {
    expect([0x63n, 0x73n, 0xfn].map((selector) => segmentBase(selector, segments))).toEqual([
      0xf7fb_95c0n,
      0x1234_5000n,
      0x40_0000n,
    ]);
  });

  it('is 0 for no segment, a segment of the kernel, and one that is not there', () => {
    for (const selector of [0n, 3n, 0x23n, 0x2bn, 0x6bn, 0x7n, 0x17n, 0x1_0063n]) {
      expect(segmentBase(selector, segments)).toBe(0n);
    }
    expect(segmentBase(0x63n, noSegments)).toBe(0n);
  });
});
