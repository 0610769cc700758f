/** A Node program as it is, with its event loops, pools and timers: saved from outside, ended, brought back, three times. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bringBack, isAlive, newFolder, readIfThere, said, saveAndEnd, start, waitFor } from '../support/harness.ts';
import { nodeVersions } from '../support/nodes.ts';

const CYCLES = 3;

/** Counts by setInterval; uses the pool of threads, a worker and crypto; ends when it is told to, with all that it has counted. */
const program = `
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';

const worker = new Worker(
  "const { parentPort } = require('node:worker_threads'); parentPort.on('message', (n) => parentPort.postMessage(n * n));",
  { eval: true },
);
const square = (n) => new Promise((resolve) => { worker.once('message', resolve); worker.postMessage(n); });
const derive = promisify(pbkdf2);
const expected = (await derive('word', 'salt', 1000, 32, 'sha256')).toString('hex');
const content = readFileSync('program.mjs', 'utf8');

let count = 0;
const counting = setInterval(() => { count++; appendFileSync('count', count + '\\n'); }, 5);
let answer;
process.on('SIGUSR2', () => { answer = 'signal'; });
console.log('ready');
for (let round = 1; !existsSync('go'); round++) {
  if (await square(round) !== round * round) throw new Error('the worker');
  if ((await derive('word', 'salt', 1000, 32, 'sha256')).toString('hex') !== expected) throw new Error('the pool');
  if (await readFile('program.mjs', 'utf8') !== content) throw new Error('a file');
  await sleep(3);
}
process.kill(process.pid, 'SIGUSR2');
while (answer === undefined) await sleep(1);
clearInterval(counting);
const counted = readFileSync('count', 'utf8').trim().split('\\n').map(Number);
console.log(counted.length === count && counted.every((value, index) => value === index + 1) ? 'ok' : 'not ok');
await worker.terminate();
`;

test.for(nodeVersions)(
  'a program of $name goes on after three restarts',
  async ({ program: node, missing }, context) => {
    if (missing !== undefined) context.skip(missing);
    const folder = newFolder();
    writeFileSync(join(folder, 'program.mjs'), program);
    const target = start(folder, node, ['program.mjs']);
    await said(target.output, 'ready');
    const counted = (): number => (readIfThere(join(folder, 'count')) ?? '').split('\n').length - 1;
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const before = counted();
      await waitFor('it to count', () => counted() >= before + 20);
      const image = join(folder, `image.${cycle}`);
      await saveAndEnd(target.pid, image);
      expect(await bringBack(image)).toBe(target.pid);
    }
    const before = counted();
    await waitFor('it to count', () => counted() >= before + 20);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
    expect(readIfThere(target.output)).not.toContain('not ok');
    await waitFor('its end', () => !isAlive(target.pid));
  },
);
