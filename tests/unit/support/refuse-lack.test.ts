/** A look that fails for lack of descriptors is no answer. In one file of its own: fault points stay on in the process that has switched them on. */
import { describe, expect, it } from 'vitest';
import { remoteCallSize } from '../../../src/arch/x86/machine-code.ts';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { startFaultPoints } from '../../../src/kernel/fault-points.ts';
import { readBootId } from '../../../src/procfs/boot-id.ts';
import { is32BitProgram } from '../../../src/procfs/exe.ts';
import { readRawSockets } from '../../../src/procfs/raw-sockets.ts';
import { checksumOfEnds } from '../../../src/resources/file-identity.ts';
import { indexOfInterface } from '../../../src/resources/interfaces.ts';
import { asPid, remoteAddress } from '../../../src/support/brand.ts';
import { readBuildId } from '../../../src/support/elf-build-id.ts';
import { QuicksaveError } from '../../../src/support/errors.ts';
import { refuseLack } from '../../../src/support/lacking.ts';
import { CallBatch } from '../../../src/tracee/call-batch.ts';
import { askForProtectionKeys } from '../../../src/tracee/protection-keys.ts';

const ownPid = asPid(process.pid);

describe('where no descriptor is left', () => {
  it.each([
    ['the name of this boot is not unknown', readBootId],
    ['a file has not lost its build id', () => readBuildId('/bin/sleep')],
    ['a program is not taken for one of 64 bits', () => is32BitProgram(ownPid)],
    ['a file has ends', () => checksumOfEnds('/bin/sleep', 100n)],
    ['an interface is not missing', () => indexOfInterface('lo')],
    ['there may be raw sockets', () => readRawSockets(ownPid, 'raw')],
  ])('%s', (_, read: () => unknown) => {
    startFaultPoints('fail:1:openSync');
    expect(read).toThrow(expect.objectContaining({ code: 'no-room', remedy: expect.stringContaining('ulimit -n') }));
    expect(read).not.toThrow();
  });
});

it('a failure of another kind is an answer', () => {
  expect(() => refuseLack(Object.assign(new Error('not there'), { code: 'ENOENT' }), '/proc/x')).not.toThrow();
  const full = new QuicksaveError('no-room', 'There is no room.');
  expect(() => refuseLack(full, '/proc/x')).toThrow(full);
});

describe('the question for protection keys', () => {
  const ask = (result: number): ReturnType<typeof askForProtectionKeys> => {
    const calls = Buffer.alloc(64 * 1024);
    const batch = new CallBatch({
      pid: 7,
      callsAddress: remoteAddress(0),
      dataAddress: remoteAddress(0),
      maxCalls: 1024,
      maxDataBytes: 1024,
      calls,
      data: Buffer.alloc(1024),
      runBatch: (count) => {
        for (let index = 0; index < count; index++) calls.writeBigInt64LE(BigInt(result), index * remoteCallSize + 56);
      },
    });
    const finish = askForProtectionKeys(batch, []);
    batch.run();
    return finish;
  };

  it('takes no other failure for an answer', () => {
    expect(ask(-ERRNO.ENOMEM)().allocated).toBe(0xfffe);
    expect(ask(-ERRNO.EINVAL)().allocated).toBe(0);
    expect(ask(-ERRNO.ENOSYS)().allocated).toBe(0);
    expect(ask(-ERRNO.EACCES)).toThrow('pkey_mprotect: EACCES');
  });
});
