import { expect, test } from 'vitest';
import { FSAVE_SIZE, fsaveOf } from '../../../../src/arch/x86/fsave.ts';

const ONE = '000000000000' + '0080' + 'ff3f';
const ZERO = '00'.repeat(10);
const NOT_A_NUMBER = '000000000000' + '00c0' + 'ff7f';
const DENORMAL = '0100000000000000' + '0000';

/** FXSAVE with these values on the stack, the top first. */
function fxsaveWith(values: readonly string[]): Buffer {
  const fxsave = Buffer.alloc(512);
  const top = (8 - values.length) & 7;
  fxsave.writeUInt16LE(0x037f, 0);
  fxsave.writeUInt16LE(top << 11, 2);
  fxsave.writeUInt8(
    values.reduce((bits, _, index) => bits | (1 << ((top + index) & 7)), 0),
    4,
  );
  fxsave.writeUInt32LE(0x401000, 8);
  fxsave.writeUInt32LE(0x602000, 16);
  values.forEach((value, index) => {
    Buffer.from(value, 'hex').copy(fxsave, 32 + index * 16);
  });
  return fxsave;
}

test('an empty x87 state has eight empty registers', () => {
  const fsave = fsaveOf(fxsaveWith([]));
  expect(fsave).toHaveLength(FSAVE_SIZE);
  expect(fsave.readUInt32LE(0)).toBe(0xffff037f);
  expect(fsave.readUInt32LE(8)).toBe(0xffffffff);
});

test('values keep their order on the stack, and each register its tag', () => {
  const fsave = fsaveOf(fxsaveWith([ONE, ZERO, NOT_A_NUMBER, DENORMAL]));
  expect(fsave.subarray(28, 38).toString('hex')).toBe(ONE);
  expect(fsave.subarray(48, 58).toString('hex')).toBe(NOT_A_NUMBER);
  // The top is register 4: valid 0, zero 1, special 2, special 2; registers 0 to 3 are empty.
  expect(fsave.readUInt32LE(8) & 0xffff).toBe(0b10_10_01_00_11_11_11_11);
  expect(fsave.readUInt32LE(12)).toBe(0x401000);
  expect(fsave.readUInt32LE(20)).toBe(0x602000);
});
