import { describe, expect, it } from 'vitest';
import {
  CPU_BASE_SIZE,
  type CpuState,
  decodeCpu,
  decodeMemoryContext,
  decodeThread,
  encodeCpu,
  encodeMemoryContext,
  encodeThread,
} from '../../../../src/arch/x86/records.ts';
import { registerNames } from '../../../../src/arch/x86/registers.ts';
import { errorOf } from '../../image/streams.ts';
import { largeLayout, layoutOf, smallLayout } from './samples.ts';

/** Every register and every byte of the state has a value of its own. */
function fullState(layout = smallLayout): CpuState {
  return {
    registers: BigUint64Array.from(registerNames, (_, index) => 0xfedc_ba98_0000_0000n + BigInt(index)),
    debugRegisters: [1n, 2n, 3n, 4n, 0n, 0n, 0xffff_0ff0n, 0xd0101n],
    xstate: Buffer.from(Array.from({ length: layout.sizeBytes }, (_, index) => (index * 31 + (index >> 8)) & 0xff)),
    layout,
  };
}

const refusal = (bytes: Buffer): string => {
  const error = errorOf(() => decodeCpu(bytes, 'CPU record of thread 7'));
  expect(error.code).toBe('bad-record');
  return error.message;
};

function changed(change: (bytes: Buffer) => void, state = fullState()): Buffer {
  const bytes = encodeCpu(state);
  change(bytes);
  return bytes;
}

const XSTATE_SIZE = 808;
const COMPONENT_COUNT = 812;
const COMPONENTS = 816;

describe('a CPU record', () => {
  it.each([
    ['without components', layoutOf(3n, [])],
    ['with AVX and protection keys', smallLayout],
    ['with AMX', largeLayout],
  ])('%s comes back as it was', (_, layout) => {
    const state = fullState(layout);
    expect(decodeCpu(encodeCpu(state), 'CPU')).toEqual(state);
  });

  it('is as long as its state and no longer', () => {
    expect(encodeCpu(fullState(layoutOf(3n, [])))).toHaveLength(CPU_BASE_SIZE + 32 + 64);
    expect(encodeCpu(fullState(smallLayout))).toHaveLength(CPU_BASE_SIZE + 32 + 2 * 12 + 840 - 512);
  });

  it.each([0, 1, 783, 784, 815])('of %d bytes is refused', (length) => {
    expect(refusal(encodeCpu(fullState()).subarray(0, length))).toBe(
      `CPU record of thread 7: has ${length} bytes, fewer than the 816 that it must have.`,
    );
  });

  it('that is cut, or has a byte too many, is refused', () => {
    const whole = encodeCpu(fullState());
    for (const length of [816, 839, 840, whole.length - 1]) {
      expect(refusal(whole.subarray(0, length))).toMatch(/its length does not fit its xstate size\.$/);
    }
    expect(refusal(Buffer.concat([whole, Buffer.alloc(1)]))).toMatch(/its length does not fit/);
  });

  it.each([0, 511, 575, 64 * 1024 + 1, 0xffff_ffff])('with an xstate of %d bytes is refused', (size) => {
    expect(refusal(changed((bytes) => bytes.writeUInt32LE(size, XSTATE_SIZE)))).toMatch(
      new RegExp(`xstate size ${size} is not possible\\.$`),
    );
  });

  it('whose xstate size or component count does not fit its length is refused', () => {
    for (const size of [839, 841]) {
      expect(refusal(changed((bytes) => bytes.writeUInt32LE(size, XSTATE_SIZE)))).toMatch(/does not fit/);
    }
    for (const count of [0, 1, 3, 62]) {
      expect(refusal(changed((bytes) => bytes.writeUInt32LE(count, COMPONENT_COUNT)))).toMatch(/does not fit/);
    }
  });

  it.each([63, 0x7fff_ffff, 0xffff_ffff])('with %d components is refused', (count) => {
    expect(refusal(changed((bytes) => bytes.writeUInt32LE(count, COMPONENT_COUNT)))).toMatch(
      new RegExp(`${count} xstate components are not possible\\.$`),
    );
  });

  it.each([
    ['ends behind the state', 4, 585],
    ['ends far behind the state', 4, 0xffff_ffff],
    ['is longer than the state', 8, 265],
    ['is longer than 4 GiB together with its place', 8, 0xffff_ffff],
    ['has a number above 62', 0, 63],
    ['has a number of 32 bits', 0, 0xffff_ffff],
  ])('with a component that %s is refused', (_, field, value) => {
    expect(refusal(changed((bytes) => bytes.writeUInt32LE(value, COMPONENTS + field)))).toMatch(
      /an xstate component lies outside of the state\.$/,
    );
  });

  it('is the owner of what it was decoded to', () => {
    const bytes = encodeCpu(fullState());
    const { xstate } = decodeCpu(bytes, 'CPU');
    bytes.fill(0);
    expect(xstate).toEqual(fullState().xstate);
  });

  // What is written and never compared is a lie that nobody notices.
  it.each([
    ['uses_debug says that there is no breakpoint', 264, 0],
    ['used_math says that there is no FPU state', 266, 0],
    ['has_fxsr says that it is not of FXSAVE', 268, 0],
    ['padding is not zero', 270, 1],
  ])('whose %s is refused', (_, offset, value) => {
    expect(() =>
      decodeCpu(
        changed((bytes) => bytes.writeUInt16LE(value, offset)),
        'CPU',
      ),
    ).toThrow();
  });

  it('with two components of one number is refused', () => {
    expect(() =>
      decodeCpu(
        changed((bytes) => bytes.writeUInt32LE(9, COMPONENTS)),
        'CPU',
      ),
    ).toThrow();
  });
});

describe('a THREAD record', () => {
  const descriptors = Uint8Array.from({ length: 24 }, (_, index) => index + 1);

  it.each([
    ['with three descriptors', descriptors],
    ['with none', new Uint8Array(24)],
    ['with the last one only', new Uint8Array(24).fill(9, 23)],
  ])('%s comes back as it was', (_, wanted) => {
    expect(new Uint8Array(decodeThread(encodeThread(wanted), 'THREAD'))).toEqual(wanted);
  });

  it.each([
    [0, new Uint8Array(24)],
    [1, new Uint8Array(24).fill(1, 23)],
    [2, new Uint8Array(24).fill(1, 7, 9)],
    [3, descriptors],
  ])('counts %d descriptors that are not empty', (count, wanted) => {
    expect(encodeThread(wanted).readInt16LE(4)).toBe(count);
  });

  const refused = (bytes: Buffer, what = 'it is not laid out as a THREAD record'): void => {
    const error = errorOf(() => decodeThread(bytes, 'THREAD record of thread 7'));
    expect(error).toMatchObject({ code: 'bad-record', message: `THREAD record of thread 7: ${what}.` });
  };

  it.each([0, 7, 8, 31])('that is cut to %d bytes is refused', (length) => {
    refused(encodeThread(descriptors).subarray(0, length));
  });

  it('with a byte too many is refused', () => {
    refused(Buffer.concat([encodeThread(descriptors), Buffer.alloc(1)]));
  });

  it.each([
    ['number of entries', 0, 2],
    ['number of entries', 0, -3],
    ['size of the array', 2, 16],
    ['size of the array', 2, 0],
  ])('with another %s is refused (%#)', (_, offset, value) => {
    const bytes = encodeThread(descriptors);
    bytes.writeInt16LE(value, offset);
    refused(bytes);
  });

  // The design of 2008 read no descriptors when ntls was 0; here the count is written and never compared.
  it.each([0, 2, 4, -1])('whose count of used descriptors is %d instead of 3 is refused', (count) => {
    const bytes = encodeThread(descriptors);
    bytes.writeInt16LE(count, 4);
    refused(bytes, 'its count of thread areas is wrong');
  });
});

describe('an MM_CONTEXT record', () => {
  const tables = [0, 1, 8192].map((entries) => Buffer.alloc(entries * 8, 0x5a));
  it.each(tables.map((table) => [table.length / 8, table] as const))(
    'with %d descriptors comes back as it was',
    (_, table) => {
      expect(decodeMemoryContext(encodeMemoryContext(table))).toEqual(table);
    },
  );

  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = encodeMemoryContext(Buffer.alloc(16, 1));
    change(bytes);
    return bytes;
  };
  it.each([
    ['that is cut in its header', Buffer.alloc(7), 'has only 7 bytes'],
    ['that is cut', changed(() => {}).subarray(0, -1), 'its length does not fit its count'],
    ['with a count of its own', changed((bytes) => bytes.writeInt16LE(3, 2)), 'its length does not fit its count'],
    ['with a negative count', changed((bytes) => bytes.writeInt16LE(-1, 2)), '-1 descriptors are not possible'],
    [
      'with more than the kernel has',
      changed((bytes) => bytes.writeInt16LE(8193, 2)),
      '8193 descriptors are not possible',
    ],
    [
      'with descriptors of another size',
      changed((bytes) => bytes.writeInt16LE(16, 0)),
      'its descriptors do not have 8 bytes',
    ],
    ['with something in its padding', changed((bytes) => bytes.writeInt32LE(1, 4)), 'its padding is not zero'],
  ])('%s is refused', (_, bytes, what) => {
    const error = errorOf(() => decodeMemoryContext(bytes));
    expect(error).toMatchObject({ code: 'bad-record', message: `MM_CONTEXT record: ${what}.` });
  });
});
