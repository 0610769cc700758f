/** CLOCK_MONOTONIC and CLOCK_BOOTTIME of a restarted program: the host's, or going on where they stood, in a time namespace (Linux 5.6). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import {
  childrenOf,
  compiled,
  gone,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { putTogether, takeApart } from '../support/image-surgery.ts';

const NS_PER_SECOND = 1_000_000_000n;
const AWAY_NS = 1_500_000_000n;
/** What a restart may take on a busy machine: far less than the namespaces here are apart. */
const SOON_NS = 60n * NS_PER_SECOND;

const hostNs = (): bigint => process.hrtime.bigint();

/** What the root or its child has read last. */
function clocksOf(folder: string, which: 0 | 1): { monotonic: bigint; boottime: bigint } {
  const [monotonic = '', boottime = ''] = readFileSync(join(folder, `clocks.${which}`), 'latin1')
    .trim()
    .split(' ');
  return { monotonic: BigInt(monotonic), boottime: BigInt(boottime) };
}

/** Both read their clocks again, or have said why they do not. */
async function bothGoOn({ output }: Target, folder: string): Promise<void> {
  for (const which of [0, 1] as const) {
    const before = clocksOf(folder, which).monotonic;
    await waitFor(`process ${which} to read its clocks`, () => {
      const text = readIfThere(output) ?? '';
      if (text.includes('not ok')) throw new Error(text);
      return clocksOf(folder, which).monotonic !== before;
    });
  }
}

async function end(target: Target, folder: string): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(readFileSync(target.output, 'latin1')).not.toContain('not ok');
  await gone(target.pid);
}

/** With what starts it in a time namespace whose clocks are so many seconds ahead. */
const inNamespace = (monotonic: number, boottime: number): readonly string[] => [
  '--time',
  '--monotonic',
  String(monotonic),
  '--boottime',
  String(boottime),
  '--',
];

test.each([
  ['64', [], 3],
  ['32', ['-m32'], 1],
])(
  'clocks of a %s-bit program go on where they stood, also in the saves after that',
  async (_, flags, rounds) => {
    const folder = newFolder();
    const target = start(folder, compiled('clocks', flags));
    await said(target.output, 'ready');
    for (let round = 0; round < rounds; round++) {
      await bothGoOn(target, folder);
      const image = join(folder, `image.${round}`);
      await saveAndEnd(target.pid, image);
      const saved = { host: hostNs(), own: clocksOf(folder, 0) };
      await waitFor('time to pass', () => hostNs() - saved.host > AWAY_NS);
      // A program that is in a time namespace already needs no option.
      await mustRun('restart', image, '--detach', ...(round === 0 ? ['--clock', 'continue'] : []));
      await bothGoOn(target, folder);
      const passed = hostNs() - saved.host;
      const now = clocksOf(folder, 0);
      expect(now.monotonic - saved.own.monotonic).toBeLessThan(passed - AWAY_NS + NS_PER_SECOND / 2n);
      expect(now.boottime - saved.own.boottime).toBeLessThan(passed - AWAY_NS + NS_PER_SECOND / 2n);
    }
    await end(target, folder);
  },
  60_000,
);

test('a program in a time namespace comes back in one, from a save by a command that is not in it', async () => {
  const folder = newFolder();
  const target = start(folder, 'unshare', [...inNamespace(100_000, 200_000), compiled('clocks')]);
  await said(target.output, 'ready');
  await bothGoOn(target, folder);
  const image = join(folder, 'image');
  const { stdout } = await mustRun('check', String(target.pid));
  expect(stdout).not.toContain('namespace');
  await saveAndEnd(target.pid, image);
  const ahead = clocksOf(folder, 0).monotonic - hostNs();
  expect(ahead).toBeGreaterThan(99_000n * NS_PER_SECOND);
  await mustRun('restart', image, '--detach');
  await bothGoOn(target, folder);
  for (const which of [0, 1] as const) {
    const { monotonic, boottime } = clocksOf(folder, which);
    expect(ahead - (monotonic - hostNs())).toBeLessThan(SOON_NS);
    expect(boottime - monotonic).toBeGreaterThan(99_000n * NS_PER_SECOND);
  }
  await end(target, folder);
}, 60_000);

test('clocks go on by themselves on another boot of a host', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('clocks'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  // A day of which this boot knows nothing.
  const ahead = 86_400n * NS_PER_SECOND;
  const pieces = takeApart(readFileSync(image)).map((piece) => {
    if (piece.type !== RECORD.TASK) return piece;
    const task = decodeCbor(piece.payload) as { clocks?: { monotonicNs: bigint; boottimeNs: bigint } };
    const { clocks } = task;
    if (clocks === undefined) return piece;
    const moved = {
      ...clocks,
      bootId: '00000000-0000-4000-8000-000000000000',
      monotonicNs: BigInt(clocks.monotonicNs) + ahead,
      boottimeNs: BigInt(clocks.boottimeNs) + ahead,
    };
    return { ...piece, payload: Buffer.from(encodeCbor({ ...task, clocks: moved })) };
  });
  writeFileSync(image, putTogether(pieces));
  const { stderr } = await mustRun('restart', image, '--detach');
  expect(stderr).toContain('this is another boot');
  await bothGoOn(target, folder);
  for (const which of [0, 1] as const) {
    expect(ahead - (clocksOf(folder, which).monotonic - hostNs())).toBeLessThan(SOON_NS);
  }
  await end(target, folder);
}, 60_000);

test('clocks become those of the host where that is asked for, and that they have gone back is told', async () => {
  const folder = newFolder();
  const target = start(folder, 'unshare', [...inNamespace(100_000, 100_000), compiled('clocks'), 'they-may-go-back']);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  const { stderr } = await mustRun('restart', image, '--detach', '--clock', 'host');
  expect(stderr).toMatch(/CLOCK_MONOTONIC stands 1 d 3 h behind where it stood/);
  // Its sleep until a point of time is now one of a day.
  expect(readFileSync(`/proc/${target.pid}/timens_offsets`, 'latin1')).toMatch(/^monotonic +0 +0$/m);
  process.kill(target.pid, 'SIGKILL');
  await gone(target.pid);
}, 60_000);

test('a tree of which a process is in another time namespace is refused, and told how', async () => {
  const folder = newFolder();
  const target = start(folder, 'sh', ['-c', 'unshare --time --monotonic 5 sleep 600 & echo ready; wait']);
  await said(target.output, 'ready');
  const [child = 0] = childrenOf(target.pid);
  await waitFor('the child to sleep', () => readIfThere(`/proc/${child}/comm`) === 'sleep\n');
  const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(result.status).toBe(1);
  expect(result.stderr).toContain(`It is in another time namespace than process ${target.pid}`);
  expect(result.stderr).toContain(`quicksave checkpoint ${child}`);
  process.kill(child, 'SIGKILL');
  await gone(target.pid);
});
