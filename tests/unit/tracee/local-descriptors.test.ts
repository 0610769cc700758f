import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { CallBatch } from '../../../src/tracee/call-batch.ts';
import {
  askForLocalDescriptors,
  readLocalDescriptors,
  writeLocalDescriptors,
} from '../../../src/tracee/local-descriptors.ts';
import { codeAt, dataAt, tableOf } from '../arch/x86/samples.ts';
import { errorOf } from '../image/streams.ts';
import { type FakeKernel, FakeTask } from './fake-task.ts';

/** A failure as modify_ldt(2) gives it: an int in an unsigned register. */
const failure = (errno: number): number => 2 ** 32 - errno;
const READ = 0;
const TABLE_SIZE = 65_536;

/** As read_ldt() of the kernel: the table and zeros behind it, as many bytes as were asked for; nothing without a table. */
const kernelWith =
  (table: Buffer): FakeKernel =>
  ({ args: [what = -1, address = 0, sizeBytes = 0] }, memory) => {
    if (what !== READ || table.length === 0) return 0;
    memory(address).fill(0, 0, sizeBytes);
    table.copy(memory(address), 0, 0, sizeBytes);
    return sizeBytes;
  };

const batchWith = (kernel: FakeKernel, maxCalls = 256): { task: FakeTask; batch: CallBatch } => {
  const task = new FakeTask(kernel, maxCalls, 2 * TABLE_SIZE);
  return { task, batch: new CallBatch(task) };
};

describe('an LDT', () => {
  it.each([
    ['there', kernelWith(tableOf([dataAt(1)])), true],
    ['not there', kernelWith(Buffer.alloc(0)), false],
    ['not known to the kernel', (() => -ERRNO.ENOSYS) as FakeKernel, false],
    ['not to be read', (() => failure(ERRNO.EFAULT)) as FakeKernel, false],
  ])('that is %s is found by its first entry', (_, kernel, found) => {
    const { batch } = batchWith(kernel);
    const isThere = askForLocalDescriptors(batch);
    batch.run();
    expect(isThere()).toBe(found);
  });

  it('is read as far as it is in use', () => {
    const table = tableOf([undefined, dataAt(5), codeAt(6), undefined]);
    const { task, batch } = batchWith(kernelWith(table));
    expect(readLocalDescriptors(batch)).toEqual(table.subarray(0, 24));
    expect(task.made[0]?.args.slice(0, 3)).toEqual([READ, task.dataAddress, TABLE_SIZE]);
  });

  it('that cannot be read is an error', () => {
    const { batch } = batchWith(() => failure(ERRNO.EFAULT));
    expect(errorOf(() => readLocalDescriptors(batch)).message).toContain('EFAULT');
  });

  it('is written entry by entry, in as many batches as it takes', () => {
    const table = tableOf(Array.from({ length: 700 }, (_, index) => (index % 7 === 3 ? undefined : dataAt(index))));
    const { task, batch } = batchWith(() => 0, 64);
    writeLocalDescriptors(batch, table);
    expect(task.made).toHaveLength(600);
    expect(task.made.every(({ name, args }) => name === 'modify_ldt' && args[0] === 0x11 && args[2] === 16)).toBe(true);
    expect(task.batches.length).toBeGreaterThan(9);
  });

  it('that the kernel does not take is an error, which names the entry', () => {
    const { batch } = batchWith(() => failure(ERRNO.EINVAL));
    expect(errorOf(() => writeLocalDescriptors(batch, tableOf([undefined, dataAt(1)]))).message).toMatch(
      /set LDT entry 1.*EINVAL|EINVAL.*set LDT entry 1/s,
    );
  });

  it('that is empty costs no call', () => {
    const { task, batch } = batchWith(() => 0);
    writeLocalDescriptors(batch, Buffer.alloc(0));
    expect(task.made).toEqual([]);
  });
});
