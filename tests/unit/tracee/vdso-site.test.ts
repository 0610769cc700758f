import { describe, expect, it } from 'vitest';
import { homeCode, stateBlock } from '../../../src/arch/x86/machine-code.ts';
import { readMaps } from '../../../src/procfs/smaps.ts';
import { asPid } from '../../../src/support/brand.ts';
import { readRemote } from '../../../src/tracee/remote-memory.ts';
import { findVdsoSite } from '../../../src/tracee/vdso-site.ts';
import { errorOf } from '../image/streams.ts';

const own = asPid(process.pid);
const maps = readMaps(own);
const vdso = maps.find(({ special }) => special === '[vdso]');

describe('the site in a vDSO', () => {
  it('is in the unused end of its last page', () => {
    if (vdso === undefined) throw new Error('this process has no vDSO');
    const site = findVdsoSite(own, vdso);
    const end = site.block + 2 * stateBlock.doorbell;
    expect(site.start).toBeGreaterThan(vdso.start);
    expect(end).toBeLessThanOrEqual(vdso.end);
    expect(readRemote(own, site.start, end - site.start).every((byte) => byte === 0)).toBe(true);
  });

  it('has room for the code before its aligned block', () => {
    if (vdso === undefined) throw new Error('this process has no vDSO');
    const site = findVdsoSite(own, vdso);
    expect(site.block - site.start).toBeGreaterThanOrEqual(homeCode.length);
    expect([site.start % 16, site.block % 16]).toEqual([0, 0]);
    expect(site.goHome - site.callOnce).toBe(2);
  });

  it('is not looked for in what is no ELF image', () => {
    const stack = maps.find(({ special }) => special === '[stack]');
    if (stack === undefined) throw new Error('this process has no stack');
    const error = errorOf(() => findVdsoSite(own, stack));
    expect(error).toMatchObject({ code: 'no-foothold', message: expect.stringContaining('not an ELF image') });
  });
});
