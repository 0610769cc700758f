import { describe, expect, it } from 'vitest';
import {
  actionFlagNames,
  capabilityText,
  eflagsNames,
  hasCapability,
  openFlagNames,
  permissionsOf,
  signalsIn,
} from '../../../src/report/names.ts';

describe('flags of open(2)', () => {
  it.each([
    [0, ['O_RDONLY']],
    [0o2, ['O_RDWR']],
    [0o4010001, ['O_WRONLY', 'O_SYNC']],
    [0x410002, ['O_RDWR', 'O_TMPFILE']],
    [0x40000001, ['O_WRONLY', '0x40000000']],
  ] as [number, string[]][])('of 0x%x', (flags, expected) => {
    expect(openFlagNames(flags)).toEqual(expected);
  });
});

it('signals have their names, real-time ones too', () => {
  expect(signalsIn(0n)).toEqual([]);
  expect(signalsIn(0x8000_0000_8000_0001n)).toEqual(['SIGHUP', 'SIGRT+0', 'SIGRT+32']);
});

it('eflags are named, the bit without a meaning is not', () => {
  expect(eflagsNames(0x2n)).toEqual([]);
  expect(eflagsNames(0x246n)).toEqual(['PF', 'ZF', 'IF']);
  expect(eflagsNames(0x3002n)).toEqual(['IOPL=3']);
  expect(eflagsNames(0x8000_0002n)).toEqual(['0x80000000']);
});

it('the restorer of an action is not told', () => {
  expect(actionFlagNames(0x14000004)).toEqual(['SA_SIGINFO', 'SA_RESTART']);
});

it('permissions are letters', () => {
  expect([0, 1, 3, 5, 7].map(permissionsOf)).toEqual(['---', 'r--', 'rw-', 'r-x', 'rwx']);
});

describe('capabilities', () => {
  it.each([
    [0n, 'none'],
    [0x1ff_ffff_ffffn, 'all'],
    [0x1ff_feff_ffffn, 'all but SYS_RESOURCE'],
    [0x8_0000n, 'SYS_PTRACE'],
    [0x8000_0000_0001n, 'CHOWN 0x800000000000'],
  ])('0x%x', (set, expected) => {
    expect(capabilityText(set)).toBe(expected);
  });

  it('are found by name', () => {
    expect(hasCapability(1n << 40n, 'CHECKPOINT_RESTORE')).toBe(true);
    expect(hasCapability(1n << 21n, 'SYS_ADMIN')).toBe(true);
    expect(hasCapability(1n << 24n, 'SYS_PTRACE')).toBe(false);
  });
});
