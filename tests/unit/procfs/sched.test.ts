import { describe, expect, it } from 'vitest';
import { parseSched, readSched } from '../../../src/procfs/sched.ts';
import { asPid, asTid } from '../../../src/support/brand.ts';

const text = `sleep (28917, #threads: 1)
-------------------------------------------------------------------
se.exec_start                                :      18952946.252373
se.vruntime                                  :          5231.907661
nr_switches                                  :                   11
nr_voluntary_switches                        :                    7
nr_involuntary_switches                      :                    4
`;

describe('what the scheduler says of a thread', () => {
  it('is when it last ran, to the nanosecond, and how often it has gone to sleep', () => {
    expect(parseSched(text)).toEqual({ lastRanNs: 18_952_946_252_373, voluntarySwitches: 7 });
  });

  it.each([
    ['exec_start', text.replace('se.exec_start', 'exec_start')],
    ['the switches', text.replace('nr_voluntary', 'voluntary')],
    ['a fraction of six digits', text.replace('252373', '252')],
  ])('is not known without %s', (_, other) => {
    expect(parseSched(other)).toBeUndefined();
  });

  it('of ourselves goes on', () => {
    const own = (): number => readSched(asPid(process.pid), asTid(process.pid))?.lastRanNs ?? 0;
    const before = own();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    expect(own()).toBeGreaterThan(before);
  });
});
