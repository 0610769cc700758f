// How long does a program of 8 MiB stand still, by what the command says and by its own clock? A fork of as much is the reference.
import { atMost, result, rounds } from '../measure.mjs';
import { longestGap, MEBIBYTE, quicksave, reference, save, startTarget } from '../processes.mjs';

const BYTES = 8 * MEBIBYTE;

export async function ask(count) {
  const found = await rounds(count, [saveOne, () => ({ fork: reference('fork', BYTES) })]);
  const options = { reference: ['fork', found.fork], target: atMost(10) };
  return [
    result('8 MiB: pause, as reported', found.pause, options),
    result('8 MiB: pause, as the program saw it', found.seen, options),
    result('8 MiB: longest gap without a save', found.undisturbed),
  ];
}

/** A new program each time: a second save may find things done that the first had to do. */
async function saveOne() {
  const target = await startTarget({ bytes: BYTES });
  const { pause, seen } = await save(target);
  const undisturbed = await gapWithoutSave(target);
  await target.end();
  return { pause, seen, undisturbed };
}

/** What the scheduler alone does to the program while a command like ours runs that leaves it in peace. */
async function gapWithoutSave(target) {
  await longestGap(target);
  quicksave('check', String(target.pid));
  return longestGap(target);
}
