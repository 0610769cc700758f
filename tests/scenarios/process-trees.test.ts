/**
 * Real programs of several processes: each tree is saved at random moments of its run, ended, brought back, and must finish with
 * the result of an undisturbed run.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { full, has, interrupt, isAlive, newFolder, start, waitFor } from '../support/harness.ts';

interface Job {
  readonly name: string;
  readonly needs: readonly string[];
  /** Writes what the program needs. */
  readonly prepare: (folder: string) => void;
  readonly command: readonly [string, ...string[]];
  /** What must be the same in every run. */
  readonly results: (folder: string) => readonly string[];
}

const UNITS = 10;

function writeProject(folder: string): void {
  const objects = Array.from({ length: UNITS }, (_, unit) => `unit${unit}.o`);
  for (let unit = 0; unit < UNITS; unit++) {
    const functions = Array.from(
      { length: 50 },
      (_, index) =>
        `double f${unit}_${index}(double *a, int n) { double s = ${index}; for (int i = 0; i < n; i++) ` +
        `{ s += a[i] * ${unit + index}.5; if (s > 1e9) s /= a[(i * 7) % n] + 1.0; } return s; }`,
    );
    writeFileSync(join(folder, `unit${unit}.c`), `${functions.join('\n')}\n`);
  }
  writeFileSync(
    join(folder, 'main.c'),
    'double f3_7(double *, int); int main(void) { double a[3] = {1, 2, 3}; return (int)f3_7(a, 3) % 50; }\n',
  );
  const rules = [`program: main.o ${objects.join(' ')}`, '\tgcc -o $@ $^', '%.o: %.c', '\tgcc -O2 -c -o $@ $<'];
  writeFileSync(join(folder, 'Makefile'), `${rules.join('\n')}\n`);
}

const script = `
mkdir -p parts
count() { for i in $(seq 1 1200); do echo "$1 $((i * $1))"; [ $((i % 40)) = 0 ] && sleep 0.1; done; }
for n in 1 2 3; do count $n > parts/$n & done
count 4 | while read a b; do echo "$b $a"; done | sort -n > parts/4
wait
cat parts/* | sha256sum > sum
exit 0
`;

const python = `
import hashlib, multiprocessing, os
def work(number):
    digest = hashlib.sha256()
    for step in range(400):
        digest.update(f'{number}:{step}'.encode() * 20000)
    with lock:
        with open('log', 'a') as log: log.write('done\\n')
    return digest.hexdigest()
def begin(shared):
    global lock
    lock = shared
if __name__ == '__main__':
    multiprocessing.set_start_method('fork')
    lock = multiprocessing.Lock()
    with multiprocessing.Pool(3, begin, (lock,)) as pool:
        results = pool.map(work, range(40), chunksize=2)
    open('result', 'w').write(repr(results) + open('log').read())
`;

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
const files =
  (...names: string[]) =>
  (folder: string): string[] =>
    names.map((name) => digest(join(folder, name)));

const jobs: readonly Job[] = [
  {
    name: 'make -j4 building a C project',
    needs: ['make', 'gcc'],
    prepare: writeProject,
    command: ['make', '-j4'],
    results: (folder) =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.o') || name === 'program')
        .sort()
        .map((name) => `${name} ${digest(join(folder, name))}`),
  },
  {
    name: 'a bash script with background jobs and pipes',
    needs: ['bash'],
    prepare: (folder) => writeFileSync(join(folder, 'script'), script),
    command: ['bash', 'script'],
    results: files('sum', 'parts/1', 'parts/4'),
  },
  {
    name: 'tar, xz and sha256sum in a pipe',
    needs: ['tar', 'xz', 'sha256sum'],
    prepare: (folder) => {
      mkdirSync(join(folder, 'input'));
      const text = readFileSync(new URL('../../package-lock.json', import.meta.url));
      for (let index = 0; index < 150; index++) writeFileSync(join(folder, 'input', `${index}`), `${index} ${text}`);
    },
    command: [
      'bash',
      '-c',
      'set -o pipefail; tar -c --mtime=@0 --owner=0 --group=0 --sort=name input | xz -6 | sha256sum > sum; exit $?',
    ],
    results: files('sum'),
  },
  {
    name: 'python3 multiprocessing',
    needs: ['python3'],
    prepare: (folder) => writeFileSync(join(folder, 'program.py'), python),
    command: ['python3', 'program.py'],
    results: files('result'),
  },
];

interface Finished {
  readonly results: readonly string[];
  readonly ms: number;
  readonly saved: boolean;
}

/** Runs the job to its end, with one save after `momentMs` if that is given. */
async function finish({ prepare, command: [program, ...args], results }: Job, momentMs?: number): Promise<Finished> {
  const folder = newFolder();
  prepare(folder);
  const began = performance.now();
  const target = start(folder, program, args);
  const hasPassed = (): boolean => !isAlive(target.pid) || performance.now() - began >= (momentMs ?? 0);
  if (momentMs !== undefined) await waitFor('the moment', hasPassed);
  const saved = momentMs !== undefined && (await interrupt(target.pid, join(folder, 'image')));
  if (!saved) expect(await target.ended).toEqual({ status: 0, signal: null });
  return { results: results(folder), ms: performance.now() - began, saved };
}

describe.each(jobs)('$name', (job) => {
  test(
    'gives the same result when all of it is saved, ended and brought back at a random moment',
    async (context) => {
      const missing = job.needs.find((program) => !has(program));
      if (missing !== undefined) context.skip(`${missing} is not installed`);
      const undisturbed = await finish(job);
      const rounds = full ? 20 : 2;
      let saves = 0;
      // A run that ends before the command has started does not count, and is made again.
      for (let attempt = 0; saves < rounds && attempt < 3 * rounds; attempt++) {
        const disturbed = await finish(job, undisturbed.ms * Math.random() * 0.6);
        expect(disturbed.results).toEqual(undisturbed.results);
        if (disturbed.saved) saves++;
      }
      expect(saves).toBe(rounds);
    },
    full ? 900_000 : 180_000,
  );
});
