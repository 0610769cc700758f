import { describe, expect, it } from 'vitest';
import type { ProcessStatus } from '../../../src/procfs/status.ts';
import { planClocks } from '../../../src/resources/clock-choice.ts';

const root = { capEffective: 0xffff_ffff_ffffn } as ProcessStatus;
const anybody = { capEffective: 0n } as ProcessStatus;
const clocks = { monotonicNs: 0n, boottimeNs: 0n, apart: false, bootId: 'this' };
const plan = (...[choice, saved, status]: Parameters<typeof planClocks>): ReturnType<typeof planClocks> =>
  planClocks(choice, saved, status, 'this');
const FAR_AHEAD = 3_000_000_000_000_000_000n;

describe('the clocks of a restarted program', () => {
  it.each([
    [undefined, false, false],
    [undefined, true, true],
    ['host', false, false],
    ['host', true, false],
    ['continue', false, true],
    ['continue', true, true],
  ] as const)('with choice %s, in a time namespace: %s, go on: %s', (choice, apart, goOn) => {
    const planned = plan(choice, { ...clocks, apart }, root);
    expect(planned.problems).toEqual([]);
    expect(planned.continued !== undefined).toBe(goOn);
  });

  it('cannot go on from where nobody knows', () => {
    expect(plan('continue', undefined, root).problems).toMatchObject([{ code: 'no-clocks' }]);
    expect(plan(undefined, undefined, root)).toEqual({ continued: undefined, problems: [], remarks: [] });
  });

  it('go on with rights only, which are named', () => {
    const { problems } = plan('continue', clocks, anybody);
    expect(problems).toMatchObject([{ code: 'no-time-namespace' }]);
    expect(problems[0]?.message).toContain('CAP_SYS_ADMIN and CAP_SYS_TIME');
    expect(plan('host', clocks, anybody).problems).toEqual([]);
  });

  it('are told to have gone back where they have, and only there', () => {
    expect(plan('host', clocks, root).remarks).toEqual([]);
    const [remark] = plan(undefined, { ...clocks, monotonicNs: FAR_AHEAD }, root).remarks;
    expect(remark).toMatch(/^CLOCK_MONOTONIC stands \d+ d( \d+ h)? behind where it stood/);
  });

  it('are told to be no longer those of a namespace', () => {
    expect(plan('host', { ...clocks, apart: true }, root).remarks).toEqual([
      'its clocks were those of a time namespace, and are those of this host now',
    ]);
  });

  it('go on by themselves on another boot, which is told, if that may be done', () => {
    const elsewhere = { ...clocks, bootId: 'another', monotonicNs: FAR_AHEAD };
    expect(plan(undefined, elsewhere, root)).toEqual({
      continued: elsewhere,
      problems: [],
      remarks: [expect.stringContaining('this is another boot')],
    });
    for (const host of [plan(undefined, elsewhere, anybody), plan('host', elsewhere, root)]) {
      expect(host).toEqual({ continued: undefined, problems: [], remarks: [expect.stringContaining('waits longer')] });
    }
    expect(plan('host', { ...elsewhere, monotonicNs: 0n }, root).remarks).toEqual([
      expect.stringMatching(/ahead of where it stood: what waits for a point of it waits less/),
    ]);
    expect(plan(undefined, { ...elsewhere, bootId: '' }, root).continued).toBeUndefined();
    expect(planClocks(undefined, elsewhere, root, '').continued).toBeUndefined();
  });
});
