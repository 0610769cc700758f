import { expect, it } from 'vitest';
import { describeSystemCall, inspectSystemCall } from '../../../src/report/system-call.ts';
import { registerFile } from './sample-image.ts';

const describeCall = (values: Parameters<typeof registerFile>[0]): string | undefined => {
  const call = inspectSystemCall(registerFile({ cs: 0x33n, rdi: 3n, rsi: 0x7000n, rdx: 16n, ...values }));
  return call === undefined ? undefined : describeSystemCall(call);
};

it('a thread in its own code is in no call', () => {
  expect(describeCall({ orig_rax: -1n })).toBeUndefined();
});

it('a blocked read starts again', () => {
  expect(describeCall({ orig_rax: 0n, rax: -512n })).toBe('read(0x3, 0x7000, 0x10), which starts again');
});

it('a sleep goes on', () => {
  expect(describeCall({ orig_rax: 35n, rax: -516n })).toBe(
    'nanosleep(0x3, 0x7000), which goes on for the time that is left',
  );
});

it('a call that has its result shows it', () => {
  expect(describeCall({ orig_rax: 1n, rax: 16n })).toBe('write(0x3, 0x7000, 0x10), which has returned 0x10');
  expect(describeCall({ orig_rax: 1n, rax: -32n })).toBe('write(0x3, 0x7000, 0x10), which has returned EPIPE');
});

it('a call that is not known has its number and all six registers', () => {
  expect(describeCall({ orig_rax: 999n, rax: -514n })).toBe(
    'system call 999(0x3, 0x7000, 0x10, 0x0, 0x0, 0x0), which starts again',
  );
});

it('a 32-bit thread has calls of i386', () => {
  expect(describeCall({ cs: 0x23n, orig_rax: 3n, rax: -512n, rbx: 5n, rcx: 6n })).toBe(
    'read(0x5, 0x6, 0x10), which starts again',
  );
});
