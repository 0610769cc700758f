/** Programs of more than a few MiB go on while their pages are read from a snapshot, which they never see. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  childrenOf,
  compiled,
  footprint,
  gone,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  run,
  said,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

const ballastMiB = 24;
const STOOD_STILL = 'it stood still until all was written';

/** Processes of that name that this one traces. */
function tracedBy(tracer: number, name: string): number[] {
  const pattern = new RegExp(`^Name:\\s+${name}$[^]*^TracerPid:\\s+${tracer}$`, 'm');
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pattern.test(readIfThere(`/proc/${pid}/status`) ?? ''));
}

/** Ends it as a crash would, and waits until its number is free. */
async function crash(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await gone(pid);
}

describe.each([
  { name: 'memory-kinds' },
  { name: 'memory-kinds', flags: ['-m32'] },
  { name: 'memory-objects' },
  { name: 'newer-memory' },
  { name: 'thread-state' },
  { name: 'open-files' },
  { name: 'busy-threads' },
  { name: 'registers' },
  { name: 'childless' },
  { name: 'rewriter' },
  { name: 'i386-state', flags: ['-m32'] },
])('$name $flags', ({ name, flags = [] }: { name: string; flags?: readonly string[] }) => {
  test('goes on from the image of a save that let it go on', async () => {
    const folder = newFolder();
    const target = start(folder, compiled(name, flags), [], { ballastMiB });
    await said(target.output, 'ready');
    const before = footprint(target.pid).maps;
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < 3; cycle++) {
      const { stderr } = await mustRun('checkpoint', String(target.pid), '--output', image);
      expect(stderr).not.toContain(STOOD_STILL);
      const pages = Number(/(\d+) pages/.exec(stderr)?.[1]);
      expect(pages).toBeGreaterThanOrEqual(ballastMiB * 256);
      if (cycle === 0) expect(footprint(target.pid).maps).toEqual(before);
      await crash(target.pid);
      expect(await bringBack(image)).toBe(target.pid);
    }
    writeFileSync(join(folder, 'go'), '');
    await waitFor('a verdict', () => /^(ok|not ok.*)$/m.test(readIfThere(target.output) ?? ''));
    expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
  });
});

test('the program hears nothing of twenty snapshots', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('childless'), [], { ballastMiB });
  await said(target.output, 'ready');
  for (let save = 0; save < 20; save++) {
    await mustRun('checkpoint', String(target.pid), '--output', join(folder, 'image'));
    expect(childrenOf(target.pid)).toEqual([]);
  }
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
  expect(readFileSync(target.output, 'utf8')).toMatch(/^ok$/m);
});

test('a reader that stalls holds up the snapshot, not the program; a snapshot that is killed ends the save', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('childless'), [], { ballastMiB });
  await said(target.output, 'ready');
  const before = footprint(target.pid).maps;
  // Nobody reads its standard output: after a pipe's worth of bytes it waits.
  const tool = run(['checkpoint', String(target.pid), '--output', '-'], { stalled: true });
  const snapshot = await waitFor('the snapshot alone to be traced', () => {
    const traced = tracedBy(tool.pid, 'childless');
    return traced.length === 1 && !traced.includes(target.pid) ? traced[0] : undefined;
  });
  // It looks for whatever the snapshot may hold on to, round after round.
  const ticks = (): number => Number((readIfThere(`/proc/${target.pid}/stat`) ?? '').split(') ')[1]?.split(' ')[11]);
  const spent = ticks();
  await waitFor('the program to go on', () => ticks() > spent + 20);
  expect(footprint(target.pid).maps).toEqual(before);
  process.kill(snapshot, 'SIGKILL');
  tool.read();
  const { status, stderr } = await tool.done;
  expect(stderr).toContain('snapshot');
  expect(stderr).toContain('Save it again');
  expect(status).toBe(1);
  await waitFor('the snapshot to be gone', () => stateOf(snapshot) === undefined);
  writeFileSync(join(folder, 'go'), '');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('a program that would become the parent of its snapshot is copied while it stands still', async () => {
  const folder = newFolder();
  const subreaper =
    'import ctypes, time; ctypes.CDLL(None).prctl(36, 1); room = bytearray(32 << 20); print("ready", flush=True); time.sleep(600)';
  const target = start(folder, 'python3', ['-c', subreaper]);
  await said(target.output, 'ready');
  const { stderr } = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(stderr).toContain(`${STOOD_STILL}: a subreaper is in it`);
  await crash(target.pid);
  expect(await bringBack(join(folder, 'image'))).toBe(target.pid);
});

test('a program that may have no more processes is copied while it stands still', async () => {
  const folder = newFolder();
  // Numbers that no user of the machine has: the limit counts the processes of the user.
  const alone = ['--reuid', '54321', '--regid', '54321', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const sleeper = 'room = bytearray(32 << 20); print("ready", flush=True); import time; time.sleep(600)';
  const target = start(folder, 'setpriv', [...alone, 'prlimit', '--nproc=1', 'python3', '-c', sleeper]);
  await said(target.output, 'ready');
  const { status, stderr } = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(stderr).toContain(`${STOOD_STILL}: no snapshot could be made`);
  expect(status).toBe(0);
});
