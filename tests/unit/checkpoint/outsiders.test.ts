import { spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { OutsiderSearch } from '../../../src/checkpoint/outsiders.ts';

/** Has a pipe under the number 3; told to by a line, under the number 9, or no more. */
const PROGRAM = 'while read -r line; do eval "$line"; echo done; done';

async function holderOfAPipe(): Promise<{ pipe: string; told: (line: string) => Promise<void> }> {
  const child = spawn('bash', ['-c', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const pid = child.pid ?? 0;
  const told = (line: string): Promise<void> =>
    new Promise((resolve) => {
      child.stdout?.once('data', () => resolve());
      child.stdin?.write(`${line}\n`);
    });
  await told(':');
  return { pipe: readlinkSync(`/proc/${pid}/fd/3`), told };
}

const NONE = new Set<string>();

test('an outsider that has it under another number meanwhile is still one, and one that has closed it is none', async () => {
  const { pipe, told } = await holderOfAPipe();
  const search = new OutsiderSearch();
  const numbers = (): number[] =>
    search
      .of(
        [],
        new Set([pipe]),
        NONE,
      )(pipe)
      .map(({ fd }) => fd);
  expect(numbers()).toEqual([3]);
  await told('exec 9<&3 3<&-');
  expect(numbers()).toEqual([9]);
  await told('exec 9<&-');
  expect(numbers()).toEqual([]);
});
