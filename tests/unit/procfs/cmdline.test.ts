import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeProcess, parseCommandLine, readCommandLine } from '../../../src/procfs/cmdline.ts';
import { asPid } from '../../../src/support/brand.ts';

describe('command line', () => {
  it.each([
    ['', []],
    ['sleep\x0060\0', ['sleep', '60']],
    ['sh\0-c\0\0', ['sh', '-c', '']],
    ['nginx: worker', ['nginx: worker']],
    ['\0', ['']],
  ])('splits %j', (text, expected) => {
    expect(parseCommandLine(text)).toEqual(expected);
  });

  it('reads this process', () => {
    expect(readCommandLine(asPid(process.pid)).length).toBeGreaterThan(0);
  });

  it('says that there is no such process', () => {
    expect(() => readCommandLine(asPid(4194305))).toThrow('There is no process 4194305.');
  });
});

describe('describeProcess', () => {
  it('names a process, with nothing in it that steers a terminal', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'quicksave-cmdline-'));
    const program = join(folder, '\x1b[31mred\nx');
    copyFileSync('/bin/sleep', program);
    const child = spawn(program, ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    expect(describeProcess(asPid(child.pid ?? 0))).toBe(`${child.pid} (?[31mred?x)`);
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  it('gives the number of a process that is gone', () => {
    expect(describeProcess(asPid(4194305))).toBe('4194305');
  });
});
