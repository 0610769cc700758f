import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { FlagWords } from '../../../src/checkpoint/flag-words.ts';
import { KernelObjects } from '../../../src/kernel/kernel-objects.ts';
import { type Mapping, parseMaps, readMaps, readSmaps } from '../../../src/procfs/smaps.ts';
import { asPid } from '../../../src/support/brand.ts';

const [data, code, gate] = parseMaps(
  '1000-2000 rw-p 00000000 00:00 0 \n2000-3000 r-xp 00000000 08:01 7 /bin/x\nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n',
);
const mapping = (entry: typeof data, ...vmFlags: string[]): Mapping =>
  ({ ...entry, vmFlags, protectionKey: 0, kernelPageKiB: 4 }) as Mapping;
const known = [mapping(data, 'rd', 'wr', 'ac'), mapping(code, 'rd', 'ex')];
const flagsOf = (first: bigint, second: bigint) => [
  { start: 0x1000, end: 0x2000, flags: first },
  { start: 0x2000, end: 0x3000, flags: second },
];
const seen = flagsOf(0b1000011n, 0b101n);
const entries = [data, code].map((entry) => entry as NonNullable<typeof entry>);

function learned(...rounds: [readonly Mapping[], ReturnType<typeof flagsOf>, ReturnType<typeof flagsOf>][]): FlagWords {
  const words = new FlagWords();
  for (const round of rounds) words.learn(...round);
  return words;
}

it('says flags that were never seen together in the words of each', () => {
  const words = learned([[...known, mapping(gate, 'ex')], seen, seen]);
  const found = words.describe([...entries, gate as NonNullable<typeof gate>], flagsOf(0b1000111n, 0b100n));
  expect(found?.map(({ vmFlags }) => vmFlags.join(' '))).toEqual(['rd wr ex ac', 'ex', 'ex']);
  expect(found?.[0]).toMatchObject({ start: 0x1000, protectionKey: 0, kernelPageKiB: 4 });
});

it.each([
  ['nothing was learned', learned(), seen],
  ['a bit was not seen', learned([known, seen, seen]), flagsOf(0b1000011n, 0b1101n)],
  ['a bit of several was silent', learned([known, flagsOf(0b11000011n, 0b101n), seen]), seen],
  ['flags have changed while they were looked at', learned([known, seen, flagsOf(0b1000001n, 0b1n)]), seen],
  ['one bit has two words', learned([known, seen, seen], [[mapping(data, 'rd', 'xx', 'ac')], seen, seen]), seen],
  ['pages are huge', learned([[mapping(data, 'rd', 'wr', 'ht')], seen, seen]), seen],
  ['a mapping is missing', learned([known, seen, seen]), seen.slice(1)],
  ['there is one more', learned([known, seen, seen]), [...seen, { start: 0x8000, end: 0x9000, flags: 1n }]],
])('does not guess where %s', (_, words, flags) => {
  expect(words.describe(entries, flags)).toBeUndefined();
});

it('a program that stands still is read as smaps has it', async (context) => {
  const iterator = KernelObjects.tryOpen()?.tryOpenVmaIterator();
  if (iterator === undefined) return context.skip('no iterator over mappings (CAP_BPF, CAP_PERFMON, Linux 6.1)');
  onTestFinished(() => iterator.close());
  const target = spawn('sleep', ['600'], { stdio: 'ignore' });
  onTestFinished(() => void target.kill('SIGKILL'));
  await once(target, 'spawn');
  const pid = asPid(target.pid ?? 0);
  await expect.poll(() => readFileSync(`/proc/${pid}/syscall`, 'utf8')).toMatch(/^230 /);
  const flags = iterator.tryRead(pid) ?? [];
  const words = new FlagWords();
  words.learn(readSmaps(pid), flags, flags);
  expect(words.describe(readMaps(pid), flags)).toEqual(readSmaps(pid));
  expect(iterator.tryRead(2 ** 22)).toEqual([]);
});

/** Every second page has other flags, so that none is joined with its neighbours. */
const MANY = `import mmap, time
room = mmap.mmap(-1, 4000 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 4000, 2): room.madvise(mmap.MADV_DONTDUMP, page * 4096, 4096)
print("ready", flush=True)
time.sleep(600)`;

it('a program with many mappings is read to its end, and no further', async (context) => {
  const iterator = KernelObjects.tryOpen()?.tryOpenVmaIterator();
  if (iterator === undefined) return context.skip('no iterator over mappings (CAP_BPF, CAP_PERFMON, Linux 6.1)');
  onTestFinished(() => iterator.close());
  const target = spawn('python3', ['-c', MANY], { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => void target.kill('SIGKILL'));
  await once(target.stdout, 'data');
  const pid = asPid(target.pid ?? 0);
  const places = (all: readonly { start: number; end: number }[]) => all.map(({ start, end }) => `${start}-${end}`);
  const mapped = readMaps(pid).filter(({ special }) => special !== '[vsyscall]');
  expect(mapped.length).toBeGreaterThan(4000);
  expect(places(iterator.tryRead(pid) ?? [])).toEqual(places(mapped));
});
