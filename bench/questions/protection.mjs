// What do encryption and signatures cost for 1 GiB, and does verifying keep up with reading the file, in memory and on the disk of the
// temporary folder?
import { result, rounds } from '../measure.mjs';
import { MEBIBYTE, makeKeys, saveVerifyAndBringBack, startTarget, warmMemory } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;
const places = [
  { place: 'memory', onDisk: false },
  { place: 'disk', onDisk: true },
];
const ways = [
  { way: 'plain', protect: () => [], open: () => [] },
  { way: 'encrypted', protect: ({ secret }) => ['--encrypt', secret], open: ({ secret }) => ['--key', secret] },
  {
    way: 'signed',
    protect: ({ signing }) => ['--sign', signing],
    open: ({ verifying }) => ['--verify-key', verifying],
  },
];
const cases = places.flatMap((place) => ways.map((way) => ({ ...place, ...way, name: `${place.place}, ${way.way}` })));

export async function ask(count) {
  const keys = makeKeys();
  const found = await rounds(
    count,
    cases.map(({ name, onDisk, protect, open }) => async () => {
      warmMemory(3 * BYTES);
      const target = await startTarget({ bytes: BYTES, idle: true, noise: true });
      const values = await saveVerifyAndBringBack(target, { onDisk, protect: protect(keys), open: open(keys) });
      return Object.fromEntries(Object.entries(values).map(([what, ms]) => [`${name}: ${what}`, ms]));
    }),
  );
  return cases.flatMap(({ name, place, way }) => {
    const costs = way === 'plain' ? [] : ['checkpoint', 'restart'];
    return [
      ...costs.map((what) =>
        result(`1 GiB in ${name}: ${what}`, found[`${name}: ${what}`], {
          reference: ['plain', found[`${place}, plain: ${what}`]],
        }),
      ),
      result(`1 GiB in ${name}: verify`, found[`${name}: verify`], { reference: ['cat', found[`${name}: read`]] }),
    ];
  });
}
