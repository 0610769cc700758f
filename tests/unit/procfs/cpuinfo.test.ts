import { describe, expect, it } from 'vitest';
import { parseCpuinfo, readCpuinfo } from '../../../src/procfs/cpuinfo.ts';

const FIRST = `processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 26
model		: 2
model name	: AMD EPYC
stepping	: 1
flags		: fpu vme xsave avx512f
bugs		:
power management:
`;

describe('parseCpuinfo', () => {
  it('reads the first processor', () => {
    expect(parseCpuinfo(`${FIRST}\n${FIRST.replace('AuthenticAMD', 'Other')}\n`)).toEqual({
      vendor: 'AuthenticAMD',
      family: 26,
      model: 2,
      modelName: 'AMD EPYC',
      stepping: '1',
      flags: new Set(['fpu', 'vme', 'xsave', 'avx512f']),
    });
  });

  it.each(['', 'garbage', FIRST.replace(/flags.*\n/, ''), FIRST.replace('26', 'x')])('refuses %j', (text) => {
    expect(() => parseCpuinfo(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it('reads this machine', () => {
    expect(readCpuinfo().flags.has('fpu')).toBe(true);
  });
});
