import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import * as schema from '../../../src/image/schema.ts';
import { errorOf } from './streams.ts';

const limits = v.object({
  limits: v.object({ nofile: v.object({ soft: schema.u64, hard: v.number() }) }),
  names: v.optional(schema.boundedArray(schema.boundedString(4), 2)),
});

const failure = (value: unknown): string =>
  errorOf(() => schema.parseState(limits, value, 'TASK record at byte 4096')).message;

describe('parseState', () => {
  it('returns the state in its normal form', () => {
    const state = { limits: { nofile: { soft: 1024, hard: 4096 } } };
    expect(schema.parseState(limits, state, 'TASK')).toEqual({ limits: { nofile: { soft: 1024n, hard: 4096 } } });
  });

  it('names the record and the field that is wrong', () => {
    expect(failure({ limits: { nofile: { soft: 1, hard: 'many' } } })).toBe(
      'TASK record at byte 4096: limits.nofile.hard must be a number.',
    );
    expect(failure({ limits: { nofile: { soft: -1, hard: 1 } } })).toMatch(
      /limits\.nofile\.soft must be a whole number from 0 to 18446744073709551615\.$/,
    );
  });

  it('says when a field is missing', () => {
    expect(failure({ limits: { nofile: { soft: 1 } } })).toMatch(/limits\.nofile\.hard is missing\.$/);
  });

  it('says when the whole is of the wrong kind', () => {
    expect(failure(7)).toMatch(/it must be an object\.$/);
  });

  it('names the place in an array', () => {
    const nofile = { soft: 1, hard: 1 };
    expect(failure({ limits: { nofile }, names: ['ok', 'too long'] })).toMatch(
      /names\.1 must be a text of at most 4 char/,
    );
    expect(failure({ limits: { nofile }, names: ['a', 'b', 'c'] })).toMatch(/names must have at most 2 entries\.$/);
  });
});

describe('schema pieces', () => {
  const accepted: [string, v.GenericSchema, unknown, unknown][] = [
    ['u32', schema.u32, 2 ** 32 - 1, 2 ** 32 - 1],
    ['u32 written as 64 bits', schema.u32, 7n, 7],
    ['signed32', schema.signed32, -(2 ** 31), -(2 ** 31)],
    ['u64 from a number', schema.u64, 2 ** 40, 2n ** 40n],
    ['u64', schema.u64, 2n ** 64n - 1n, 2n ** 64n - 1n],
    ['i64', schema.i64, -(2n ** 63n), -(2n ** 63n)],
    ['userAddress', schema.userAddress, 2 ** 47, 2 ** 47],
    ['pageAddress', schema.pageAddress, 0x1000, 0x1000],
    ['byteString', schema.byteString(2), Buffer.from('ab'), Buffer.from('ab')],
  ];
  it.each(accepted)('%s accepts its values', (_, piece, value, expected) => {
    expect(schema.parseState(piece, value, 'X')).toEqual(expected);
  });

  const refused: [string, v.GenericSchema, unknown][] = [
    ['u8', schema.u8, 256],
    ['u16', schema.u16, -1],
    ['u32', schema.u32, 2 ** 32],
    ['u32', schema.u32, 1.5],
    ['u32', schema.u32, Number.NaN],
    ['u32', schema.u32, '1'],
    ['signed32', schema.signed32, 2 ** 31],
    ['u64', schema.u64, 2 ** 53],
    ['u64', schema.u64, 2n ** 64n],
    ['i64', schema.i64, 2n ** 63n],
    ['count', schema.count, 2n ** 60n],
    ['objectReference', schema.objectReference, 0],
    ['userAddress', schema.userAddress, 2 ** 47 + 1],
    ['userAddress', schema.userAddress, -4096],
    ['pageAddress', schema.pageAddress, 0x1001],
    ['byteString', schema.byteString(2), Buffer.from('abc')],
    ['byteString', schema.byteString(2), 'ab'],
    ['boundedString', schema.boundedString(2), 'abc'],
  ];
  it.each(refused)('%s refuses what is outside (%#)', (_, piece, value) => {
    expect(errorOf(() => schema.parseState(piece, value, 'X')).code).toBe('bad-record');
  });
});
