import { describe, expect, it } from 'vitest';
import { readMaps } from '../../../src/procfs/smaps.ts';
import { asPid } from '../../../src/support/brand.ts';
import { endOfSectionHeaders } from '../../../src/support/elf-extent.ts';
import { dynamicFunctions } from '../../../src/support/elf-symbols.ts';
import { readRemote } from '../../../src/tracee/remote-memory.ts';

const own = asPid(process.pid);
const mapping = readMaps(own).find(({ special }) => special === '[vdso]');
if (mapping === undefined) throw new Error('this process has no vDSO');
const whole = readRemote(own, mapping.start, mapping.end - mapping.start);
const vdso = whole.subarray(0, endOfSectionHeaders(whole));

describe('the functions of a vDSO', () => {
  it('have names, places and sizes within it', () => {
    const found = dynamicFunctions(vdso) ?? [];
    const names = found.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['__vdso_clock_gettime', '__vdso_gettimeofday', '__vdso_time']));
    expect(names).not.toContain('LINUX_2.6');
    for (const { offset, sizeBytes } of found) {
      expect(offset).toBeGreaterThan(0);
      expect(offset + sizeBytes).toBeLessThanOrEqual(vdso.length);
    }
    const [gettime, other] = ['__vdso_clock_gettime', 'clock_gettime'].map((name) =>
      found.find((one) => one.name === name),
    );
    expect(gettime?.offset).toBe(other?.offset);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(4096)],
    ['an ELF header alone', vdso.subarray(0, 64)],
    ['a cut image', vdso.subarray(0, vdso.length - 1)],
  ])('are not found in %s', (_, image) => {
    expect(dynamicFunctions(image)).toBeUndefined();
  });

  it('lie within the image whatever stands in it', () => {
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state % below;
    };
    for (let round = 0; round < 10_000; round++) {
      const image = Buffer.from(vdso);
      if (round % 2 === 0) image[4] = 1;
      for (let change = 0; change <= random(8); change++) {
        // Half of the changes in the headers, where they matter most.
        const at = random(2) === 0 ? random(64) : random(image.length);
        image[at] = random(3) === 0 ? 0xff : random(256);
      }
      for (const { offset, sizeBytes } of dynamicFunctions(image) ?? []) {
        expect(offset >= 0 && offset + sizeBytes <= image.length).toBe(true);
      }
    }
  });
});
