/** What is read from this kernel's own structs, against what it tells by other ways. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { OPEN } from '../../src/kernel/abi/fcntl.ts';
import { IORING } from '../../src/kernel/abi/io-uring.ts';
import { tryMakeRing } from '../../src/kernel/calls/io-uring.ts';
import { openProcess } from '../../src/kernel/calls/watches.ts';
import { KernelObjects, UnknownKernelObject } from '../../src/kernel/kernel-objects.ts';
import { tryReadHidden } from '../../src/kernel/task-objects.ts';
import { listThreads } from '../../src/procfs/tasks.ts';
import { readRing } from '../../src/resources/ring-facts.ts';
import { asPid, localFd } from '../../src/support/brand.ts';

const WHY_NOT = 'the kernel shows none of its objects (CAP_BPF, CAP_PERFMON, CONFIG_DEBUG_INFO_BTF)';

it('an open file description is the one that we have opened', (context) => {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return context.skip(WHY_NOT);
  const fd = openSync('/proc/self/maps', OPEN.O_RDONLY | OPEN.O_NONBLOCK);
  onTestFinished(() => closeSync(fd));
  readSync(fd, Buffer.alloc(100));
  const file = kernel.fileOf(localFd(fd));
  expect(file.u32('f_flags') & OPEN.O_NONBLOCK).toBe(OPEN.O_NONBLOCK);
  expect(file.u64('f_pos')).toBe(100n);
  expect(() => file.u32('no_such_member')).toThrow(UnknownKernelObject);
  expect(() => kernel.struct('no_such_struct', file.address)).toThrow(UnknownKernelObject);
  expect(() => kernel.struct('file', 8n)).toThrow(UnknownKernelObject);
});

it('a ring is what it was made with', (context) => {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return context.skip(WHY_NOT);
  const setup = IORING.IORING_SETUP_CQSIZE | IORING.IORING_SETUP_SQE128 | IORING.IORING_SETUP_SINGLE_ISSUER;
  const made = tryMakeRing({ setup, sqEntries: 64, cqEntries: 256 });
  if (typeof made === 'number') return context.skip(`io_uring_setup(2) fails with ${made}`);
  onTestFinished(() => made.ring.close());
  const pid = asPid(process.pid);
  const facts = readRing(kernel, made.ring.number, pid);
  const { offsets } = made;
  expect(facts).toMatchObject({ setup, sqEntries: 64, cqEntries: 256, sqHead: 0, cqTail: 0, offsets, inFlight: 0 });
  expect(facts).toMatchObject({ sqePages: 2, ringPages: 2, hasOverflow: false, isCompat: false, registered: [] });
  expect(facts.registrations).toEqual({
    files: [],
    buffers: [],
    free: { start: 0, end: 0 },
    eventfd: undefined,
    workers: undefined,
  });
  expect(Number(facts.issuer)).toBeGreaterThan(0);
});

it('a task is the one that was asked for, and so are its threads', (context) => {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return context.skip(WHY_NOT);
  const pid = asPid(process.pid);
  const pidfd = openProcess(pid, 0);
  onTestFinished(() => pidfd.close());
  const task = kernel.taskBehind(pidfd.number);
  expect(kernel.numberOfTask(task)).toBe(process.pid);
  const tids = kernel.threadsOf(task).map((thread) => kernel.numberOfTask(thread));
  expect(tids.sort((a, b) => a - b)).toEqual(listThreads(pid));
  const hidden = tryReadHidden(pid);
  expect(hidden?.map(({ number }) => number()).sort((a, b) => a - b)).toEqual(listThreads(pid));
  for (const { portLevel, hiddenRings } of hidden ?? []) expect([portLevel, hiddenRings]).toEqual([0, 0]);
});

it('a symbol of the kernel is where the kernel says that it is', (context) => {
  const kernel = KernelObjects.tryOpen();
  const line = readFileSync('/proc/kallsyms', 'latin1').match(/^([0-9a-f]+) T schedule$/m);
  if (kernel === undefined || line === null || /^0+$/.test(line[1] ?? '')) return context.skip(WHY_NOT);
  expect(kernel.tryAddressOf('schedule')).toBe(BigInt(`0x${line[1]}`));
  expect(kernel.tryAddressOf('no_such_symbol_at_all')).toBeUndefined();
  expect(kernel.tryAddressOf('x'.repeat(100))).toBeUndefined();
});
