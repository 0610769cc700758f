/** Programs that check themselves: each is saved, ended and brought back three times, and must find all as it was. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  footprint,
  full,
  mustRun,
  newFolder,
  readIfThere,
  run,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';

/** Of a program of i386. */
const m32 = { flags: ['-m32'] };
const static32 = { flags: ['-m32', '-static'] };

/** fanotify(7) on more than single files is for CAP_SYS_ADMIN. */
const mayMark = process.getuid?.() === 0;

const programs: readonly { name: string; keeps: string; flags?: readonly string[] }[] = [
  { name: 'memory-kinds', keeps: 'memory of every kind, and the map itself' },
  { name: 'memory-objects', keeps: 'memory that is a file without a name' },
  { name: 'memory-objects', keeps: 'such memory of a 32-bit program', ...m32 },
  { name: 'system-v-segments', keeps: 'System V shared memory' },
  { name: 'system-v-segments', keeps: 'System V shared memory of a 32-bit program', ...m32 },
  { name: 'semaphore-undo', keeps: 'what is to be undone to System V semaphores' },
  { name: 'semaphore-undo', keeps: 'what 32-bit programs have to be undone to them', ...m32 },
  { name: 'kernel-timers', keeps: 'timers of the kernel, and signals to be read' },
  { name: 'kernel-timers', keeps: 'such timers of a 32-bit program', ...m32 },
  { name: 'newer-memory', keeps: 'guard pages, droppable memory and seals' },
  { name: 'process-state', keeps: 'what belongs to the process' },
  { name: 'thread-state', keeps: 'what belongs to each thread' },
  { name: 'threads-apart', keeps: 'descriptor tables and directories that threads have of their own' },
  { name: 'leader-ended', keeps: 'first threads that have ended before the others' },
  { name: 'leader-ended', keeps: 'first threads that have ended before others with filters', flags: ['-DFILTERED'] },
  ...(full ? [{ name: 'leader-ended', keeps: 'such threads of 32-bit programs', ...m32 }] : []),
  { name: 'shared-tables', keeps: 'descriptor tables and directories that processes share' },
  { name: 'shared-tables', keeps: 'such tables of 32-bit programs', ...m32 },
  { name: 'shared-memory-processes', keeps: 'processes that share one memory' },
  { name: 'shared-memory-processes', keeps: 'such processes of 32-bit programs', ...m32 },
  { name: 'full-signal-queue', keeps: 'signals that wait without their siginfo' },
  { name: 'kernel-settings', keeps: 'what prctl and its relatives have set' },
  { name: 'kernel-settings', keeps: 'what prctl and its relatives have set for a 32-bit program', ...m32 },
  { name: 'open-files', keeps: 'open files, pipes and locks' },
  { name: 'named-ends', keeps: 'FIFOs, packets, paths and lost names' },
  { name: 'files-that-signal', keeps: 'whom files signal, and leases' },
  { name: 'watches', keeps: 'watches on files and processes' },
  ...(mayMark ? [{ name: 'marks', keeps: 'marks on files, mounts and file systems' }] : []),
  { name: 'rings', keeps: 'rings of requests' },
  { name: 'aio', keeps: 'asynchronous I/O' },
  { name: 'early-bytes', keeps: 'what was sent before anybody accepted it' },
  { name: 'waiting-connections', keeps: 'connections that nobody has accepted yet, in their order' },
  { name: 'waiting-tcp', keeps: 'TCP connections that nobody has accepted yet' },
  { name: 'eventfd-epoll', keeps: 'counters and interest lists' },
  { name: 'family-tree', keeps: 'a process and its descendants' },
  { name: 'family-tree', keeps: 'descendants that were orphaned', flags: ['-DSUBREAPER'] },
  { name: 'other-rights', keeps: 'rights that were given away' },
  { name: 'seccomp-filters', keeps: 'seccomp filters of each thread' },
  { name: 'seccomp-filters', keeps: 'seccomp filters of 32-bit threads', ...m32 },
  { name: 'family-tree', keeps: 'a 32-bit process and its descendants', ...m32 },
  { name: 'inet-sockets', keeps: 'TCP and UDP sockets, and what is on its way' },
  { name: 'unix-sockets', keeps: 'UNIX sockets and what waits in them' },
  { name: 'descriptors-in-flight', keeps: 'open files that nobody has received yet' },
  { name: 'groups-and-filters', keeps: 'multicast groups, filters and groups of ports' },
  { name: 'untold-options', keeps: 'options that no call tells' },
  { name: 'packets-and-messages', keeps: 'raw, packet, ICMP and netlink sockets' },
  { name: 'pseudo-terminals', keeps: 'both ends of pseudo-terminals' },
  { name: 'terminal-content', keeps: 'what waits in pseudo-terminals' },
  { name: 'calls-in-flight', keeps: 'system calls in flight' },
  { name: 'sockets-in-flight', keeps: 'calls of sockets, and a wait for a child' },
  { name: 'sockets-in-flight', keeps: 'such calls of a 32-bit program', ...m32 },
  { name: 'transfers', keeps: 'transfers that wait in the middle' },
  { name: 'transfers', keeps: 'such transfers of a 32-bit program', ...m32 },
  { name: 'busy-threads', keeps: 'threads in mid-work' },
  { name: 'registers', keeps: 'every register' },
  { name: 'steps-itself', keeps: 'the trap flag' },
  { name: 'steps-itself', keeps: 'the trap flag of a 32-bit program', ...m32 },
  { name: 'segments', keeps: 'segments, their tables and their selectors' },
  { name: 'in-handler', keeps: 'handlers that run, and what they have interrupted' },
  { name: 'vdso-callers', keeps: 'calls of the vDSO' },
  { name: 'scattered-pages', keeps: 'twenty thousand pairs of pages' },
  { name: 'i386-state', keeps: 'what only a 32-bit program has', ...m32 },
  { name: 'i386-state', keeps: 'what only a static 32-bit program has', ...static32 },
  { name: 'memory-kinds', keeps: 'memory of every kind of a 32-bit program', ...m32 },
  { name: 'process-state', keeps: 'what belongs to a 32-bit process', ...m32 },
  { name: 'thread-state', keeps: 'what belongs to each 32-bit thread', ...m32 },
  { name: 'eventfd-epoll', keeps: 'counters and interest lists of a 32-bit program', ...m32 },
  { name: 'calls-in-flight', keeps: '32-bit system calls in flight', ...m32 },
  { name: 'calls-in-flight', keeps: '32-bit system calls in flight without the vDSO', ...static32 },
  { name: 'busy-threads', keeps: '32-bit threads in mid-work', flags: ['-m32', '-msse2'] },
  { name: 'in-handler', keeps: '32-bit handlers that run, and what they have interrupted', ...m32 },
  { name: 'vdso-callers', keeps: '32-bit calls of the vDSO', ...m32 },
  { name: 'three-gigabytes', keeps: 'the address limit of a 32-bit program', ...m32 },
  { name: 'two-modes', keeps: 'threads in 32-bit code of a 64-bit program', flags: ['-no-pie'] },
  { name: 'two-modes', keeps: 'threads in 64-bit code of a 32-bit program', flags: ['-m32', '-no-pie'] },
  { name: 'registers-i386', keeps: 'every register of a 32-bit program', flags: ['-m32', '-no-pie'] },
];

/** The verdict that the program has written, once it has. */
const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

const forms = programs.map((program) => ({
  ...program,
  isFirst: programs.find(({ name }) => name === program.name) === program,
}));

describe.each(forms)('$name $flags', ({ name, keeps, flags = [], isFirst }) => {
  test('passes without a checkpointer', async () => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags));
    await said(target.output, 'ready');
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  });

  test(`restarts keep ${keeps}`, async () => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags));
    await said(target.output, 'ready');
    const cycles = full || isFirst ? 3 : 2;
    for (let cycle = 0; cycle < cycles; cycle++) {
      const image = join(folder, `image.${cycle}`);
      // A save that lets it go on leaves its sleeps in restart_syscall(2), which the next image must not be made of.
      if (cycle === 1) await mustRun('checkpoint', String(target.pid), '--output', image);
      await saveAndEnd(target.pid, image);
      expect(await bringBack(image)).toBe(target.pid);
    }
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
  });

  // The rest, where there is little time, on the first form of each program only.
  if (!full && !isFirst) return;

  test(`a save leaves ${keeps} as it was in the running program`, async () => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags));
    await said(target.output, 'ready');
    const before = footprint(target.pid);
    for (let round = 0; round < 2; round++) {
      await mustRun('checkpoint', String(target.pid), '--output', join(folder, 'image'));
      expect(footprint(target.pid)).toEqual(before);
    }
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  });

  test(`${keeps} comes back through a pipe, compressed`, async () => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags));
    await said(target.output, 'ready');
    const pid = String(target.pid);
    const saved = await run(['checkpoint', pid, '--output', '-', '--compress', 'zstd', '--kill']).done;
    expect(saved.status, saved.stderr).toBe(0);
    await waitFor('the target to be reaped', () => readIfThere(`/proc/${pid}/stat`) === undefined);
    const restart = run(['restart', '-'], { stdin: saved.stdout });
    await waitFor('the restarted program', () => readIfThere(`/proc/${pid}/comm`) !== undefined);
    writeFileSync(join(folder, 'go'), '');
    const result = await restart.done;
    expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
    expect(result.status, result.stderr).toBe(0);
  });
});
