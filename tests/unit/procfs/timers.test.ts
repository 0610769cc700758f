import { describe, expect, it } from 'vitest';
import { parseTimers, readTimers } from '../../../src/procfs/timers.ts';
import { asPid } from '../../../src/support/brand.ts';

const TEXT = `ID: 0
signal: 14/0000000000000000
notify: signal/pid.4490
ClockID: 0
ID: 7
signal: 32/00007f6207fd2000
notify: signal/tid.4491
ClockID: -6
ID: 8
signal: 0/0000000000000008
notify: none/pid.4490
ClockID: 1
`;

describe('parseTimers', () => {
  it('reads every timer', () => {
    expect(parseTimers(TEXT)).toEqual([
      { id: 0, signal: 14, value: 0n, notify: 'signal', target: { kind: 'pid', id: 4490 }, clockId: 0 },
      { id: 7, signal: 32, value: 0x7f6207fd2000n, notify: 'signal', target: { kind: 'tid', id: 4491 }, clockId: -6 },
      { id: 8, signal: 0, value: 8n, notify: 'none', target: { kind: 'pid', id: 4490 }, clockId: 1 },
    ]);
  });

  it.each([
    ['garbage', 'garbage\n'],
    ['a cut text', TEXT.slice(0, 60)],
    ['a missing line', TEXT.replace('ClockID: 0\n', '')],
    ['an unknown notification', TEXT.replace('none/', 'pigeon/')],
    ['a signal without a value', TEXT.replace('14/0000000000000000', '14')],
  ])('refuses %s', (_, text) => {
    expect(() => parseTimers(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this process, which has none', () => {
    expect(readTimers(asPid(process.pid))).toEqual([]);
  });
});
