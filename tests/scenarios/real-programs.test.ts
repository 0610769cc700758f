/**
 * Programs that nobody here wrote, and two of ours that are hard in their own way: each is saved at random moments of its
 * run, ended, brought back, and must finish with the result of an undisturbed run.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compiled, full, has, interrupt, isAlive, newFolder, readIfThere, start, waitFor } from '../support/harness.ts';

interface Job {
  readonly name: string;
  readonly needs?: string;
  readonly prepare: (folder: string) => { program: string; args: string[]; results: string[] };
}

const LONGEST_RUN_MS = 120_000;

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

const pythonProgram = (steps: number): string => `
import hashlib, threading
results = [None] * 4
def work(number):
    digest = hashlib.sha256()
    with open(f'part.{number}', 'w') as part:
        for step in range(${steps}):
            digest.update(f'{number}:{step}'.encode() * 30000)
            part.write(digest.hexdigest() + '\\n')
    results[number] = digest.hexdigest()
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
open('result', 'w').write(repr(results))
`;

/** As systemd's SystemCallFilter and container engines have it: a list of calls, and an error for all others. */
const sandbox = `
import ctypes
seccomp = ctypes.CDLL('libseccomp.so.2')
seccomp.seccomp_init.restype = ctypes.c_void_p
EPERM, ALLOW = 0x50001, 0x7fff0000
rules = ctypes.c_void_p(seccomp.seccomp_init(EPERM))
for call in '''read write close openat newfstatat fstat lseek ioctl getdents64 mmap munmap mprotect brk madvise futex clone3 clone rseq
    set_robust_list rt_sigprocmask rt_sigaction gettid exit exit_group wait4'''.split():
    number = seccomp.seccomp_syscall_resolve_name(call.encode())
    assert number >= 0 and seccomp.seccomp_rule_add(rules, ALLOW, number, 0) == 0, call
assert seccomp.seccomp_load(rules) == 0
import os
try:
    os.mkdir('folder')
    raise SystemExit('the sandbox is open')
except PermissionError:
    pass
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
      writeFileSync(join(folder, 'program.py'), pythonProgram(5000));
      return { program: 'python3', args: ['program.py'], results: ['result', 'part.0', 'part.1', 'part.2', 'part.3'] };
    },
  },
  {
    name: 'python3 in a sandbox of libseccomp',
    needs: 'python3',
    prepare: (folder) => {
      writeFileSync(join(folder, 'program.py'), sandbox + pythonProgram(1500));
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
    prepare: () => ({ program: compiled('arithmetic'), args: ['900'], results: ['output.0'] }),
  },
  {
    name: 'five hundred threads that hand a token round',
    prepare: () => ({ program: compiled('token-ring'), args: ['400'], results: ['output.0'] }),
  },
];

interface Finished {
  readonly results: string[];
  /** CPU time of the whole run as /proc shows it, in clock ticks: how far a run is, whatever else the machine does. */
  readonly ticks: number;
  readonly saved: boolean;
}

/** Runs the job to its end, with one save once it has used `moment` clock ticks if that is given. */
async function finish(job: Job, moment?: number): Promise<Finished> {
  const folder = newFolder();
  const { program, args, results } = job.prepare(folder);
  const target = start(folder, program, args);
  let ticks = 0;
  const hasEnded = (): boolean => {
    if (!isAlive(target.pid)) return true;
    ticks = Math.max(ticks, ticksOf(target.pid));
    return false;
  };
  if (moment !== undefined) await waitFor('the moment', () => hasEnded() || ticks >= moment, LONGEST_RUN_MS);
  const saved = moment !== undefined && (await interrupt(target.pid, join(folder, 'image')));
  if (!saved) await waitFor('the end', hasEnded, LONGEST_RUN_MS);
  // After a restart the command is the parent and has waited for the end.
  if (!saved) expect(await target.ended).toEqual({ status: 0, signal: null });
  const first = results[0];
  if (first === 'output.0') copyFileSync(target.output, join(folder, 'output.0'));
  return { results: results.map((name) => digest(join(folder, name))), ticks, saved };
}

/** CPU time in user and kernel mode, in clock ticks: fields 14 and 15 of /proc/PID/stat. */
function ticksOf(pid: number): number {
  const text = readIfThere(`/proc/${pid}/stat`) ?? '';
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
}

describe.each(jobs)('$name', (job) => {
  test(
    'gives the same result when it is saved, ended and brought back at a random moment',
    async (context) => {
      if (job.needs !== undefined && !has(job.needs)) context.skip(`${job.needs} is not installed`);
      const undisturbed = await finish(job);
      const rounds = full ? 20 : 3;
      let saves = 0;
      // A run that ends before the command has started does not count, and is made again.
      for (let attempt = 0; saves < rounds && attempt < 6 * rounds; attempt++) {
        const disturbed = await finish(job, undisturbed.ticks * Math.random() * 0.7);
        expect(disturbed.results).toEqual(undisturbed.results);
        if (disturbed.saved) saves++;
      }
      expect(saves).toBe(rounds);
    },
    full ? 900_000 : 180_000,
  );
});
