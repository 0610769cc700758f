// Five hundred threads: what does each of them cost while the program stands still?
import { join } from 'node:path';
import { pauseIn, quicksave, report, rounds, startTarget, workFolder } from '../measure.mjs';

export async function ask(count) {
  const target = await startTarget({ bytes: 1 << 20, threads: 499 });
  const found = await rounds(count, () => {
    const { ms, stderr } = quicksave('checkpoint', String(target.pid), '-o', join(workFolder(), 'image'));
    return { pause: pauseIn(stderr), checkpoint: ms };
  });
  await target.end();
  return [
    report('500 threads: pause, as reported', found.pause),
    report('500 threads: checkpoint, whole command', found.checkpoint),
  ];
}
