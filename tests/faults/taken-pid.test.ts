/** A number that is taken, though no process has it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bringBack, gone, mustRun, newFolder, quicksave, remember, said, start, stateOf } from '../support/harness.ts';

const groupOfTwo = `
import os, sys, time
leader = os.fork()
if leader == 0:
    os.setpgid(0, 0)
    time.sleep(600)
time.sleep(0.2)
member = os.fork()
if member == 0:
    os.setpgid(0, leader)
    os.execvp('sleep', ['sleep', '600'])
print(leader, member, 'ready', flush=True)
os.waitpid(leader, 0)
os.waitpid(member, 0)
`;

test('a restart names who is still in the group of the saved process', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'program.py'), groupOfTwo);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  const [leader = 0, member = 0] = readFileSync(target.output, 'utf8').split(' ').map(Number);
  remember(leader);
  remember(member);
  const image = join(folder, 'image');
  await mustRun('checkpoint', String(leader), '--output', image, '--kill');
  await gone(leader);
  const refused = await quicksave('restart', image, '--detach');
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`The number is still in use as a process group: ${member} (sleep) is in it.`);
  expect(stateOf(leader)).toBeUndefined();
  process.kill(member, 'SIGKILL');
  await gone(member);
  expect(await bringBack(image)).toBe(leader);
});
