// A program of 8 MiB that computes: how long does it stand still, and how long do the commands take?
import { join } from 'node:path';
import {
  bringBack,
  judge,
  longestGap,
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

const BYTES = 8 * MEBIBYTE;

export async function ask(count) {
  const image = join(workFolder(), 'image');
  const target = await startTarget({ bytes: BYTES });
  const found = await rounds(count * 2, async () => {
    await longestGap(target);
    const { ms, stderr } = quicksave('checkpoint', String(target.pid), '-o', image);
    return { checkpoint: ms, pause: pauseIn(stderr), gap: await longestGap(target), fork: reference('fork', BYTES) };
  });
  await target.end();
  const restarted = await rounds(count, async () => {
    await saveAndEnd(await startTarget({ bytes: BYTES }), image);
    const { ms, end } = bringBack(image);
    await end();
    return { restart: ms };
  });
  return [
    report('8 MiB: fork', found.fork),
    judge('8 MiB: pause, as reported', found.pause, () => 10, '10 ms'),
    report('8 MiB: pause, as the program saw it', found.gap),
    report('8 MiB: checkpoint, whole command', found.checkpoint),
    report('8 MiB: restart, whole command', restarted.restart),
  ];
}
