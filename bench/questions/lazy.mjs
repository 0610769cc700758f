// How long is it until a program of 1 GiB runs whose pages come later?
import { atMost, result, rounds } from '../measure.mjs';
import { bringBack, bringBackLazily, MEBIBYTE, startTarget, timed, warmMemory } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;
const TARGET_MS = 150;

export async function ask(count) {
  const found = await rounds(count, [
    async () => {
      warmMemory(3 * BYTES);
      return await bringBackLazily(await startTarget({ bytes: BYTES, idle: true }));
    },
    async () => {
      warmMemory(3 * BYTES);
      return await bringBack(await startTarget({ bytes: BYTES, idle: true }));
    },
    () => ({ node: timed(process.execPath, ['-e', '0']).ms }),
  ]);
  const options = { reference: ['node -e 0', found.node], target: atMost(TARGET_MS) };
  return [
    result('1 GiB, lazily: until it runs', found.running, options),
    result('1 GiB, lazily: restart --detach', found.detached, options),
    result('1 GiB, lazily: until all pages are there', found.loaded, { reference: ['restart', found.restart] }),
  ];
}
