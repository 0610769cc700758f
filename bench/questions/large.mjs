// A program of 1 GiB: checkpoint against writing as many bytes, restart against reading them.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  bringBack,
  forgetReference,
  judge,
  MEBIBYTE,
  pauseIn,
  quicksave,
  reference,
  report,
  rounds,
  saveAndEnd,
  startTarget,
  workFolder,
} from '../measure.mjs';

const BYTES = 1024 * MEBIBYTE;
const ALLOWANCE_MS = 150;
const FACTOR = 1.3;

export async function ask(count) {
  const image = join(workFolder(), 'image');
  const saved = await saves(count, image);
  const restarted = await restarts(count, image);
  const limit = (of) => (key) => FACTOR * (of[key] + ALLOWANCE_MS);
  return [
    report('1 GiB: fork', saved.fork),
    report('1 GiB: write to tmpfs', saved.write),
    report('1 GiB: read into fresh memory', restarted.read),
    report('1 GiB: pause, as reported', saved.pause),
    judge('1 GiB: checkpoint, whole command', saved.checkpoint, limit(saved.write), '1.3 x (write + 150 ms)'),
    judge('1 GiB: restart, whole command', restarted.restart, limit(restarted.read), '1.3 x (read + 150 ms)'),
  ];
}

async function saves(count, image) {
  const target = await startTarget({ bytes: BYTES });
  const found = await rounds(count, () => {
    rmSync(image, { force: true });
    const write = reference('write', BYTES);
    forgetReference();
    const { ms, stderr } = quicksave('checkpoint', String(target.pid), '-o', image);
    rmSync(image);
    return { write, fork: reference('fork', BYTES), checkpoint: ms, pause: pauseIn(stderr) };
  });
  await target.end();
  return found;
}

function restarts(count, image) {
  return rounds(count, async () => {
    await saveAndEnd(await startTarget({ bytes: BYTES }), image);
    reference('write', BYTES);
    const read = reference('read', BYTES);
    forgetReference();
    const { ms, end } = bringBack(image);
    await end();
    rmSync(image);
    return { restart: ms, read };
  });
}
