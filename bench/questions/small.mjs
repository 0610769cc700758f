// A program of 8 MiB: how long do the whole commands take?
import { result, rounds } from '../measure.mjs';
import { bringBack, MEBIBYTE, save, startTarget, writeAndRead } from '../processes.mjs';

const BYTES = 8 * MEBIBYTE;

export async function ask(count) {
  const found = await rounds(count, [
    async () => {
      const target = await startTarget({ bytes: BYTES });
      return { ...(await save(target)), ...(await bringBack(target)) };
    },
    () => writeAndRead(BYTES),
  ]);
  return [
    result('8 MiB: checkpoint', found.checkpoint, { reference: ['write to tmpfs', found.write] }),
    result('8 MiB: restart', found.restart, { reference: ['read into fresh memory', found.read] }),
  ];
}
