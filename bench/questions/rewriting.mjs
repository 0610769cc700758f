// A program that writes to all its memory while it is saved: every page that its snapshot still has is copied first. How much
// longer does it take for a pass than after a fork(2)?
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, reference, save, startRewriter, warmMemory } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;
const FACTOR = 1.25;

export async function ask(count) {
  const found = await rounds(count, [
    async () => {
      warmMemory(3 * BYTES);
      const target = await startRewriter(BYTES);
      const { seen } = await save(target);
      await target.end();
      return { pass: seen };
    },
    () => {
      warmMemory(3 * BYTES);
      return { forked: reference('rewrite', BYTES) };
    },
  ]);
  return [
    result('1 GiB: a pass over all memory during a save', found.pass, {
      reference: ['fork and a pass', found.forked],
      target: [`${FACTOR} × (fork and a pass)`, (key) => FACTOR * found.forked[key]],
    }),
  ];
}
