/** Fault points. In one file of its own: they stay on in the process that has switched them on. */
import { closeSync, openSync, renameSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { SOCKET } from '../../../src/kernel/abi/socket.ts';
import { SYS } from '../../../src/kernel/abi/syscall.ts';
import { newDoorbell } from '../../../src/kernel/calls/descriptors.ts';
import { trySocketOption } from '../../../src/kernel/calls/sockets.ts';
import { startFaultPoints } from '../../../src/kernel/fault-points.ts';
import { rawSyscall } from '../../../src/kernel/ffi.ts';
import { areFaultPointsOn, passFaultPoint } from '../../../src/support/fault-point.ts';

test('nothing but an order for this thread switches them on', () => {
  for (const order of [
    undefined,
    '',
    '3',
    'fail',
    'fail:',
    'fail:-1',
    'fail:3 ',
    'spare:3',
    'worker-fail:3',
    'worker-kill:1',
  ]) {
    startFaultPoints(order);
    expect(areFaultPointsOn(), order).toBe(false);
  }
  expect(passFaultPoint('mmap')).toBeUndefined();
});

test('the call at the point that is ordered is not made, and answers what it would for lack of room; all others are made', () => {
  startFaultPoints('fail:3');
  // Of calls that cannot fail so there are no points.
  expect(rawSyscall(SYS.getpid)).toBe(process.pid);
  expect(passFaultPoint('close')).toBeUndefined();
  expect(passFaultPoint('mmap')).toBeUndefined();
  closeSync(openSync('/dev/null', 'r'));
  expect(() => renameSync('/nowhere/a', '/nowhere/b')).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
  expect(() => renameSync('/nowhere/a', '/nowhere/b')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});

test('a system call fails with its own errno', () => {
  startFaultPoints('fail:1');
  expect(rawSyscall(SYS.socket, SOCKET.AF_UNIX, SOCKET.SOCK_STREAM, 0)).toBe(-ERRNO.EMFILE);
});

test('an option of a socket that cannot be read for lack of memory is not taken for one that it does not have', () => {
  const { ours: own, theirs: other } = newDoorbell();
  const read = (): Buffer | undefined => trySocketOption(own.number, SOCKET.SOL_SOCKET, SOCKET.SO_LINGER, 8);
  startFaultPoints('fail:1');
  expect(read).toThrow(expect.objectContaining({ errno: ERRNO.ENOMEM }));
  expect(read()).toHaveLength(8);
  expect(trySocketOption(own.number, SOCKET.IPPROTO_TCP, 1, 4)).toBeUndefined();
  for (const end of [own, other]) end.close();
});
