import { describe, expect, it } from 'vitest';
import { remoteCallSize } from '../../../src/arch/x86/machine-code.ts';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { SYS } from '../../../src/kernel/abi/syscall.ts';
import { KernelError } from '../../../src/kernel/errors.ts';
import { CallBatch } from '../../../src/tracee/call-batch.ts';
import { FakeTask } from './fake-task.ts';

describe('a call in a batch', () => {
  it('has its number and six arguments where the machine code reads them', () => {
    const task = new FakeTask();
    const batch = new CallBatch(task);
    batch.call('first', SYS.read);
    batch.call('second', SYS.mmap, 1, 2n, -3, 4, 5, 0xffff_ffff_ffff_ffffn);
    const slot = task.calls.subarray(remoteCallSize, 2 * remoteCallSize);
    const words = [0, 1, 2, 3, 4, 5, 6].map((index) => slot.readBigUInt64LE(index * 8));
    expect(words).toEqual([BigInt(SYS.mmap), 1n, 2n, 2n ** 64n - 3n, 4n, 5n, 2n ** 64n - 1n]);
  });

  it('has zeros for arguments that are not given, also where a longer call was before', () => {
    const task = new FakeTask();
    const batch = new CallBatch(task);
    batch.call('long', SYS.mmap, 9, 9, 9, 9, 9, 9);
    batch.run();
    batch.call('short', SYS.brk, 1);
    batch.run();
    expect(task.made.at(-1)).toEqual({ name: 'brk', args: [1, 0, 0, 0, 0, 0] });
  });

  it('gives its own result once the batch has run', () => {
    const batch = new CallBatch(new FakeTask(({ args }) => (args[0] ?? 0) * 10));
    const calls = [1, 2, 3].map((value) => batch.call('count', SYS.getpid, value));
    batch.run();
    expect(calls.map((call) => call.result)).toEqual([10, 20, 30]);
  });

  it('has no result before', () => {
    const call = new CallBatch(new FakeTask()).call('read the weather', SYS.read);
    expect(() => call.result).toThrow('"read the weather" was asked for its result before the batch ran');
    expect(() => call.failed).toThrow();
  });

  it('may return what looks like a large unsigned number', () => {
    const batch = new CallBatch(new FakeTask(() => 0x7fff_f7ff_f000));
    const call = batch.call('map', SYS.mmap);
    batch.run();
    expect(call.result).toBe(0x7fff_f7ff_f000);
    expect(call.failed).toBe(false);
  });
});

describe('a call that fails', () => {
  const failing = (errno: number): FakeTask => new FakeTask(({ name }) => (name === 'close' ? -errno : 0));

  it('is an error with what was being done, whose process, and the name of the errno', () => {
    const batch = new CallBatch(failing(ERRNO.EBADF));
    batch.call('close the door', SYS.close, 3);
    expect(() => batch.run()).toThrow(KernelError);
    batch.call('close the door', SYS.close, 3);
    expect(() => batch.run()).toThrow(
      expect.objectContaining({
        errnoName: 'EBADF',
        pid: 4242,
        message: expect.stringMatching(/^Could not close the door of process 4242: .*EBADF\)\.$/),
      }),
    );
  });

  it('is told by the first of several, and all have been made', () => {
    const task = failing(ERRNO.EIO);
    const batch = new CallBatch(task);
    batch.call('open', SYS.openat);
    batch.call('close the first', SYS.close, 1);
    batch.call('close the second', SYS.close, 2);
    const last = batch.call('ask', SYS.getpid);
    expect(() => batch.run()).toThrow(/close the first/);
    expect(task.made.map(({ name }) => name)).toEqual(['openat', 'close', 'close', 'getpid']);
    expect(last.result).toBe(0);
  });

  it('and may fail, tells it to the caller only', () => {
    const batch = new CallBatch(failing(ERRNO.EBADF));
    const call = batch.tryCall('close', SYS.close, 3);
    batch.run();
    expect([call.result, call.failed]).toEqual([-ERRNO.EBADF, true]);
  });

  it.each([-4095, -1])('has a result of %d', (result) => {
    const batch = new CallBatch(new FakeTask(() => result));
    const call = batch.tryCall('ask', SYS.getpid);
    batch.run();
    expect(call.failed).toBe(true);
  });

  it.each([-4096, 0, 1])('does not have a result of %d', (result) => {
    const batch = new CallBatch(new FakeTask(() => result));
    const call = batch.call('ask', SYS.getpid);
    batch.run();
    expect(call.failed).toBe(false);
  });
});

describe('data in a batch', () => {
  it('stands at an aligned address of the task, each piece behind the other', () => {
    const task = new FakeTask();
    const batch = new CallBatch(task);
    const sizes = [1, 16, 17, 0, 40];
    const pieces = sizes.map((size) => batch.data(size));
    expect(pieces.map(({ address }) => address - task.dataAddress)).toEqual([0, 16, 32, 64, 64]);
    expect(pieces.map(({ bytes }) => bytes.length)).toEqual(sizes);
  });

  it('is zero at first, also where other data was before', () => {
    const task = new FakeTask();
    const batch = new CallBatch(task);
    batch.bytes(Buffer.alloc(64, 0xff));
    batch.call('run', SYS.getpid);
    batch.run();
    expect(batch.data(64).bytes.equals(Buffer.alloc(64))).toBe(true);
  });

  it('is seen by the calls, and what they write is seen afterwards', () => {
    const task = new FakeTask(({ args: [address = 0] }, memory) => {
      const bytes = memory(address);
      bytes.writeUInt32LE(bytes.readUInt32LE(0) + 1, 0);
      return 0;
    });
    const batch = new CallBatch(task);
    const data = batch.bytes(Buffer.from([41, 0, 0, 0]));
    batch.call('count', SYS.getitimer, data.address);
    batch.run();
    expect(data.bytes.readUInt32LE(0)).toBe(42);
  });

  it('keeps what was read when the next batch uses the same memory', () => {
    const batch = new CallBatch(new FakeTask());
    const first = batch.bytes(Buffer.from('first'));
    batch.call('run', SYS.getpid);
    batch.run();
    batch.bytes(Buffer.from('other'));
    batch.call('run', SYS.getpid);
    batch.run();
    expect(first.bytes.toString()).toBe('first');
  });

  it('may be a text that ends with a zero byte', () => {
    expect(new CallBatch(new FakeTask()).cString('é').bytes.toString('hex')).toBe('c3a900');
  });

  it('is told to the runner with its padding', () => {
    const task = new FakeTask();
    const batch = new CallBatch(task);
    batch.data(1);
    batch.data(17);
    batch.call('run', SYS.getpid);
    batch.run();
    expect(task.batches).toEqual([{ callCount: 1, dataBytes: 48 }]);
  });
});

describe('the room of a batch', () => {
  it('ends with the last call, which still fits', () => {
    const task = new FakeTask(() => 0, 2, 64);
    const batch = new CallBatch(task);
    expect(batch.hasRoomFor(2, 0)).toBe(true);
    expect(batch.hasRoomFor(3, 0)).toBe(false);
    batch.call('one', SYS.getpid);
    batch.call('two', SYS.getpid);
    expect(batch.hasRoomFor(1, 0)).toBe(false);
    expect(() => batch.call('three', SYS.getpid)).toThrow('too many calls in one batch');
    batch.run();
    expect(task.made).toHaveLength(2);
  });

  it('ends with the last byte of data, which still fits', () => {
    const batch = new CallBatch(new FakeTask(() => 0, 4, 64));
    batch.data(48);
    expect(() => batch.data(17)).toThrow('too much data in one batch');
    expect(batch.data(16).bytes).toHaveLength(16);
    expect(() => batch.data(1)).toThrow('too much data in one batch');
  });

  it('counts what aligning each piece may cost', () => {
    const batch = new CallBatch(new FakeTask(() => 0, 4, 64));
    expect(batch.hasRoomFor(2, 32)).toBe(true);
    expect(batch.hasRoomFor(2, 33)).toBe(false);
  });

  it('is all there again when the batch has run', () => {
    const task = new FakeTask(() => 0, 1, 16);
    const batch = new CallBatch(task);
    for (const round of [1, 2, 3]) {
      batch.data(16);
      batch.call(`round ${round}`, SYS.getpid);
      batch.run();
    }
    expect(task.batches).toEqual(Array.from({ length: 3 }, () => ({ callCount: 1, dataBytes: 16 })));
  });

  it('is not asked for when there is nothing to run', () => {
    const task = new FakeTask();
    new CallBatch(task).run();
    expect(task.batches).toEqual([]);
  });

  it('is all there again after a failure', () => {
    const batch = new CallBatch(new FakeTask(() => -1, 1, 16));
    batch.data(16);
    batch.call('fail', SYS.getpid);
    expect(() => batch.run()).toThrow(KernelError);
    expect(batch.hasRoomFor(1, 0)).toBe(true);
  });
});
