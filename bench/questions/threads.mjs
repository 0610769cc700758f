// Five hundred threads: what does the program pay for them while it stands still?
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, save, startTarget } from '../processes.mjs';

export async function ask(count) {
  const found = await rounds(count, [() => saveWith('many', 500), () => saveWith('one', 1)]);
  return [
    result('500 threads: pause, as reported', found.manyPause, { reference: ['1 thread', found.onePause] }),
    result('500 threads: pause, as the program saw it', found.manySeen, { reference: ['1 thread', found.oneSeen] }),
    result('500 threads: checkpoint', found.manyCheckpoint, { reference: ['1 thread', found.oneCheckpoint] }),
  ];
}

async function saveWith(name, threads) {
  const target = await startTarget({ bytes: MEBIBYTE, threads });
  const { checkpoint, pause, seen } = await save(target);
  await target.end();
  return { [`${name}Checkpoint`]: checkpoint, [`${name}Pause`]: pause, [`${name}Seen`]: seen };
}
