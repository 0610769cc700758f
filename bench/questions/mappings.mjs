// Eight thousand mappings of a page each: what do they cost against one mapping with as many pages?
import { result, rounds } from '../measure.mjs';
import { bringBack, save, startTarget } from '../processes.mjs';

const MAPPINGS = 8000;
const PAGE_BYTES = 4096;

export async function ask(count) {
  const found = await rounds(count, [() => cycle('many', MAPPINGS), () => cycle('one', 1)]);
  return [
    result('8,000 mappings: checkpoint', found.manyCheckpoint, { reference: ['1 mapping', found.oneCheckpoint] }),
    result('8,000 mappings: restart', found.manyRestart, { reference: ['1 mapping', found.oneRestart] }),
    result('8,000 mappings: pause, as reported', found.manyPause, { reference: ['1 mapping', found.onePause] }),
  ];
}

async function cycle(name, mappings) {
  const target = await startTarget({ bytes: MAPPINGS * PAGE_BYTES, mappings });
  const { checkpoint, pause } = await save(target);
  const { restart } = await bringBack(target);
  return { [`${name}Checkpoint`]: checkpoint, [`${name}Pause`]: pause, [`${name}Restart`]: restart };
}
