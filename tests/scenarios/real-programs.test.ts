/**
 * Programs that nobody here wrote, and two of ours that are hard in their own way: each is saved at random moments of its
 * run, ended, brought back, and must finish with the result of an undisturbed run.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compiled, full, gone, has, isAlive, newFolder, run, start, stateOf } from '../support/harness.ts';

interface Job {
  readonly name: string;
  readonly needs?: string;
  readonly prepare: (folder: string) => { program: string; args: string[]; results: string[] };
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** Text that compresses as text does, the same in every run. */
function someText(megabytes: number): Buffer {
  const words = readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8').split(/\W+/);
  const pieces: string[] = [];
  let size = 0;
  for (let seed = 1; size < megabytes * 1_000_000; ) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const word = words[seed % words.length] ?? '';
    pieces.push(word);
    size += word.length + 1;
  }
  return Buffer.from(pieces.join(' '));
}

const pythonProgram = `
import hashlib, threading
results = [None] * 4
def work(number):
    digest = hashlib.sha256()
    with open(f'part.{number}', 'w') as part:
        for step in range(600):
            digest.update(f'{number}:{step}'.encode() * 30000)
            part.write(digest.hexdigest() + '\\n')
    results[number] = digest.hexdigest()
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
open('result', 'w').write(repr(results))
`;

const sqlProgram = `
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INTEGER);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<900000)
  INSERT INTO t SELECT x, hex(x*7919%1000003), x*31%9973 FROM c;
CREATE INDEX ia ON t(a);
CREATE INDEX ib ON t(b);
.output dump
SELECT count(*), sum(b), min(a), max(a) FROM t;
SELECT * FROM t WHERE id % 1000 = 0 ORDER BY a, id;
PRAGMA integrity_check;
`;

const jobs: Job[] = [
  {
    name: 'xz with two threads',
    needs: 'xz',
    prepare: (folder) => {
      writeFileSync(join(folder, 'text'), someText(12));
      return { program: 'xz', args: ['-T2', '--block-size=2MiB', '-k', 'text'], results: ['text.xz'] };
    },
  },
  {
    name: 'gzip',
    needs: 'gzip',
    prepare: (folder) => {
      writeFileSync(join(folder, 'text'), someText(20));
      return { program: 'gzip', args: ['-n', '-9', '-k', 'text'], results: ['text.gz'] };
    },
  },
  {
    name: 'python3 with threads that write files',
    needs: 'python3',
    prepare: (folder) => {
      writeFileSync(join(folder, 'program.py'), pythonProgram);
      return { program: 'python3', args: ['program.py'], results: ['result', 'part.0', 'part.1', 'part.2', 'part.3'] };
    },
  },
  {
    name: 'sqlite3 filling and indexing a database',
    needs: 'sqlite3',
    prepare: (folder) => {
      writeFileSync(join(folder, 'program.sql'), sqlProgram);
      return { program: 'sqlite3', args: ['database', '.read program.sql'], results: ['dump'] };
    },
  },
  {
    name: 'a loop that makes no system call',
    prepare: () => ({ program: compiled('arithmetic'), args: ['300'], results: ['output.0'] }),
  },
  {
    name: 'five hundred threads that hand a token round',
    prepare: () => ({ program: compiled('token-ring'), args: ['400'], results: ['output.0'] }),
  },
];

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Finished {
  readonly results: string[];
  readonly tookMs: number;
  readonly saves: number;
}

/** Runs the job to its end, with one save at `momentMs` if that is given. */
async function finish(job: Job, momentMs?: number): Promise<Finished> {
  const folder = newFolder();
  const { program, args, results } = job.prepare(folder);
  const begun = performance.now();
  const target = start(folder, program, args);
  let saves = 0;
  if (momentMs !== undefined) {
    await sleep(momentMs);
    saves = await interrupt(target.pid, join(folder, 'image'));
  }
  // After a restart the command is the parent and has waited for the end.
  if (saves === 0) expect(await target.ended).toEqual({ status: 0, signal: null });
  const first = results[0];
  if (first === 'output.0') copyFileSync(target.output, join(folder, 'output.0'));
  return { results: results.map((name) => digest(join(folder, name))), tookMs: performance.now() - begun, saves };
}

/** Saves, ends and brings back a program, and waits for its end. 0 if it had finished before. */
async function interrupt(pid: number, image: string): Promise<number> {
  const saved = await run(['checkpoint', String(pid), '--output', image, '--kill']).done;
  if (saved.status !== 0 && !isAlive(pid)) return 0;
  expect(saved.stderr).toContain('saved process');
  expect(saved.status).toBe(0);
  await gone(pid);
  expect(stateOf(pid)).toBe(undefined);
  const restarted = await run(['restart', image]).done;
  expect(restarted.stderr).toContain('restarted process');
  expect(restarted.status).toBe(0);
  return 1;
}

describe.each(jobs)('$name', (job) => {
  test(
    'gives the same result when it is saved, ended and brought back at a random moment',
    async (context) => {
      if (job.needs !== undefined && !has(job.needs)) context.skip(`${job.needs} is not installed`);
      const undisturbed = await finish(job);
      const rounds = full ? 20 : 3;
      let saves = 0;
      for (let round = 0; round < rounds; round++) {
        const disturbed = await finish(job, undisturbed.tookMs * Math.random() * 0.6);
        expect(disturbed.results).toEqual(undisturbed.results);
        saves += disturbed.saves;
      }
      expect(saves).toBeGreaterThanOrEqual(Math.floor(rounds / 2));
    },
    full ? 900_000 : 180_000,
  );
});
