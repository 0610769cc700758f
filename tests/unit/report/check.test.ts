import { spawn } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import { checkProcess } from '../../../src/checkpoint/check.ts';
import { readStatus } from '../../../src/procfs/status.ts';
import { childrenOf } from '../../../src/procfs/tasks.ts';
import { checkHost } from '../../../src/report/check-host.ts';
import type { HostFeature } from '../../../src/report/host-feature.ts';
import { renderHostCheck, renderProcessCheck } from '../../../src/report/render-check.ts';
import { asPid } from '../../../src/support/brand.ts';
import type { Problem } from '../../../src/support/errors.ts';
import { errorOf } from '../image/streams.ts';

const ownPid = asPid(process.pid);
const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
afterAll(() => void sleeper.kill('SIGKILL'));

describe('the check of this host', () => {
  const before = childrenOf(ownPid);
  const found = checkHost('/');

  it('leaves no process behind', () => {
    expect(childrenOf(ownPid)).toEqual(before);
  });

  it('has each feature once, and a reason and a remedy for what is missing', () => {
    const codes = found.features.map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const feature of found.features) {
      expect([typeof feature.why, typeof feature.remedy]).toEqual(
        feature.available ? ['undefined', 'undefined'] : ['string', 'string'],
      );
    }
  });

  it('finds what every kernel that Node runs on has', () => {
    const available = found.features.filter((feature) => feature.available).map(({ code }) => code);
    expect(available).toEqual(expect.arrayContaining(['x86-64', 'start-program', 'smaps']));
  });
});

describe('the check of a process', () => {
  it('says what the process is, and does nothing to it', () => {
    const pid = asPid(sleeper.pid ?? 0);
    expect(checkProcess(pid)).toMatchObject({ pid, comm: 'sleep', threads: 1 });
    expect(readStatus(pid)).toMatchObject({ tracerPid: 0, state: 'S' });
  });

  it('refuses quicksave itself', () => {
    expect(checkProcess(ownPid).problems.map(({ code }) => code)).toEqual(['own-process']);
  });

  it('throws for one that is not there', () => {
    expect(errorOf(() => checkProcess(asPid(2 ** 30))).code).toBe('no-such-process');
  });
});

const feature = (changes: Partial<HostFeature>): HostFeature => ({
  code: 'a',
  name: 'do a',
  available: true,
  need: 'both',
  purpose: 'everything',
  ...changes,
});

describe('the text of a check', () => {
  it('of a host says what is missing, and what follows', () => {
    const missing = feature({ name: 'do b', available: false, need: 'restart', why: 'no', remedy: 'Be root.' });
    const features = [feature({}), missing];
    expect(
      renderHostCheck({ kernel: '6.18', canCheckpoint: true, canRestart: false, features, heldConnections: [] }),
    ).toBe(
      [
        'Linux 6.18',
        '',
        'yes  do a  needed   everything',
        'no   do b  restart  everything',
        '',
        'What is missing:',
        '  do b (needed for restart): no.',
        '    Be root.',
        '',
        'Programs can be saved and cannot be restarted here.',
        '',
      ].join('\n'),
    );
  });

  it('of a process lists every problem with its remedy', () => {
    const problem: Problem = { code: 'lease', path: ['pid 7', 'fd 3'], message: 'It is open.', remedy: 'Close it.' };
    const clean = {
      pid: 7,
      comm: 'x\u0007y',
      threads: 2,
      residentBytes: 2048,
      restartProblems: [],
      remarks: [],
      stopped: true,
    };
    expect(renderProcessCheck({ ...clean, problems: [] })).toBe(
      'Process 7 (x?y, 2 threads, 2.0 KiB in memory) can be saved.\n',
    );
    expect(renderProcessCheck({ ...clean, problems: [], stopped: false })).toContain('quicksave check 7 --stop');
    expect(
      renderProcessCheck({ ...clean, problems: [problem], restartProblems: [problem], remarks: ['it is gone'] }),
    ).toBe(
      [
        'Process 7 (x?y, 2 threads, 2.0 KiB in memory) cannot be saved:',
        '  pid 7 › fd 3: It is open.',
        '    Close it. [lease]',
        'A restart on this host, by this user, would be refused:',
        '  pid 7 › fd 3: It is open.',
        '    Close it. [lease]',
        'After a restart:',
        '  it is gone',
        '',
      ].join('\n'),
    );
  });
});
