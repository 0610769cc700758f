// Eight thousand mappings of a page against one mapping of that size.
import { join } from 'node:path';
import { bringBack, report, rounds, saveAndEnd, startTarget, workFolder } from '../measure.mjs';

const MAPPINGS = 8000;
const BYTES = MAPPINGS * 4096;

export async function ask(count) {
  const image = join(workFolder(), 'image');
  const there = async (mappings) => {
    const checkpoint = await saveAndEnd(await startTarget({ bytes: BYTES, mappings }), image);
    const { ms: restart, end } = bringBack(image);
    await end();
    return { checkpoint, restart };
  };
  const found = await rounds(count, async () => {
    const one = await there(1);
    const many = await there(MAPPINGS);
    return {
      oneCheckpoint: one.checkpoint,
      oneRestart: one.restart,
      manyCheckpoint: many.checkpoint,
      manyRestart: many.restart,
    };
  });
  return [
    report('one mapping of 31 MiB: checkpoint', found.oneCheckpoint),
    report('8,000 mappings of a page: checkpoint', found.manyCheckpoint),
    report('one mapping of 31 MiB: restart', found.oneRestart),
    report('8,000 mappings of a page: restart', found.manyRestart),
  ];
}
