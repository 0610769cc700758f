// What does compression cost and bring for 1 GiB, compressible by half or not at all, in memory and on the disk of the temporary folder?
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, saveAndBringBack, startTarget, warmMemory } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;
const places = [
  { place: 'memory', onDisk: false },
  { place: 'disk', onDisk: true },
];
const contents = [
  { content: 'half noise', noise: false },
  { content: 'noise', noise: true },
];
const methods = ['none', 'auto', 'zstd'];

const cases = places.flatMap(({ place, onDisk }) =>
  contents.flatMap(({ content, noise }) =>
    methods.map((compress) => ({ name: `${place}, ${content}`, onDisk, noise, compress })),
  ),
);

export async function ask(count) {
  const found = await rounds(
    count,
    cases.map(({ name, onDisk, noise, compress }) => async () => {
      warmMemory(3 * BYTES);
      const target = await startTarget({ bytes: BYTES, idle: true, noise });
      const { checkpoint, restart, mebibytes } = await saveAndBringBack(target, { onDisk, compress });
      const key = `${name}: ${compress}`;
      return { [`${key}, checkpoint`]: checkpoint, [`${key}, restart`]: restart, [`${key}, MiB`]: mebibytes };
    }),
  );
  return cases
    .filter(({ compress }) => compress !== 'none')
    .flatMap(({ name, compress }) =>
      ['checkpoint', 'restart', 'MiB'].map((what) =>
        result(`1 GiB in ${name}: --compress ${compress}, ${what}`, found[`${name}: ${compress}, ${what}`], {
          reference: ['none', found[`${name}: none, ${what}`]],
        }),
      ),
    );
}
