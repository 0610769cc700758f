// A program of 1 GiB of which one page in a hundred changes between two saves: how large is the second image, how long is the pause, with
// and without tracking? A fork of as much is the reference.
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, reference, saveTwice, startTarget, warmMemory } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;

export async function ask(count) {
  const found = await rounds(count, [
    async () => named('compared', await saved([])),
    async () => named('tracked', await saved(['--track'])),
    () => ({ fork: reference('fork', BYTES) }),
  ]);
  const fork = ['fork', found.fork];
  return ['compared', 'tracked'].flatMap((way) => [
    result(`1 GiB, 1 % changed, ${way}: image, MiB`, found[`${way} image`], {
      reference: ['whole image', found[`${way} whole`]],
      target: ['1.5 %', (key) => found[`${way} whole`][key] * 0.015],
    }),
    result(`1 GiB, 1 % changed, ${way}: pause`, found[`${way} pause`], {
      reference: fork,
      ...(way === 'tracked' ? { target: ['fork / 5 + 10 ms', (key) => found.fork[key] / 5 + 10] } : {}),
    }),
    result(`1 GiB, 1 % changed, ${way}: checkpoint`, found[`${way} checkpoint`], { reference: fork }),
  ]);
}

async function saved(options) {
  warmMemory(3 * BYTES);
  const target = await startTarget({ bytes: BYTES, idle: true });
  const found = await saveTwice(target, options);
  await target.end();
  return found;
}

const named = (way, values) => Object.fromEntries(Object.entries(values).map(([name, ms]) => [`${way} ${name}`, ms]));
