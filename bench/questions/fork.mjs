// How long does fork(2) of 1 GiB take? No pause can be shorter that rests on it.
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, reference, warmMemory } from '../processes.mjs';

const SMALL_BYTES = 8 * MEBIBYTE;
const LARGE_BYTES = 1024 * MEBIBYTE;

export async function ask(count) {
  const found = await rounds(count, [
    () => {
      warmMemory(LARGE_BYTES);
      return { large: reference('fork', LARGE_BYTES) };
    },
    () => ({ small: reference('fork', SMALL_BYTES) }),
  ]);
  return [result('1 GiB: fork', found.large, { reference: ['fork of 8 MiB', found.small] })];
}
