// Returns to one save again and again, as a fuzzer does: the program is set up once, saved where it is about to read its input, and
// brought back from there for each input.
//
//     node examples/return-many-times.mjs [ROUNDS]
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkpoint, restart } from 'quicksave';

const rounds = Number(process.argv[2] ?? 1000);
const folder = mkdtempSync(join(tmpdir(), 'quicksave-example-'));

// What is to be tested: a long set-up, then one input. It says by its exit status what it made of it.
const program = `
import os, time
os.closerange(3, 1024)   # what a shell may have left open would stand in the way
table = {i: i * i % 251 for i in range(200_000)}   # the set-up
open('ready', 'w').close()
while not os.path.exists('input'): time.sleep(0.001)
text = open('input').read()
os._exit(42 if 'magic' in text else table[len(text)] % 2)
`;
const nothing = openSync('/dev/null', 'r+');
const child = spawn('/usr/bin/python3', ['-c', program], {
  cwd: folder,
  detached: true,
  stdio: [nothing, nothing, nothing],
});
const ended = new Promise((resolve) => child.once('exit', resolve));
while (!existsSync(join(folder, 'ready'))) await sleep(5);
const image = join(folder, 'image');
await checkpoint(child.pid, image, { kill: true });
await ended;

const counts = new Map();
const begun = performance.now();
for (let round = 0; round < rounds; round++) {
  const text = round % 5 === 3 ? 'magic' : 'x'.repeat(round % 97);
  writeFileSync(join(folder, 'input'), text);
  const { exited } = await restart(image, { streams: [nothing, nothing, nothing] });
  const { status } = await exited();
  counts.set(status, (counts.get(status) ?? 0) + 1);
}
const each = (performance.now() - begun) / rounds;
rmSync(folder, { recursive: true });
console.log(`${rounds} rounds, ${each.toFixed(0)} ms each: ${JSON.stringify(Object.fromEntries([...counts].sort()))}`);
