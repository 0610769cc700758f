import { describe, expect, it } from 'vitest';
import { decodeCbor, encodeCbor } from '../../../src/image/cbor.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { errorOf } from './streams.ts';

const fromHex = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
const roundTrip = (value: unknown): unknown => decodeCbor(encodeCbor(value));

describe('what goes in comes out', () => {
  const values: [string, unknown][] = [
    [
      'small and large numbers',
      [0, 1, 23, 24, 255, 256, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 47, Number.MAX_SAFE_INTEGER],
    ],
    ['negative numbers', [-1, -24, -25, -256, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 32), -(2 ** 32) - 1, -(2 ** 40)]],
    ['fractions', [1.5, -0.1, 1e300]],
    ['bigints, also small ones', [0n, 5n, -5n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)]],
    ['texts', ['', 'a', 'é'.repeat(100), 'x'.repeat(70_000), '🦊']],
    ['booleans and null', [true, false, null]],
    ['nested maps and arrays', { a: { b: [{ c: [] }, {}] }, d: [[[]]] }],
    ['keys that objects have by nature', { constructor: 1, toJSON: 2, hasOwnProperty: 3, length: 4 }],
    [
      'a map of hundreds of keys',
      Object.fromEntries(Array.from({ length: 700 }, (_, index) => [`key${index}`, index])),
    ],
  ];
  it.each(values)('%s', (_, value) => {
    expect(roundTrip(value)).toEqual(value);
  });

  it('byte strings are plain byte strings, whatever class they came in', () => {
    expect(Buffer.from(encodeCbor(new Uint8Array([1, 2]))).toString('hex')).toBe('420102');
    expect(Buffer.from(encodeCbor(Buffer.from([1, 2]))).toString('hex')).toBe('420102');
    expect(new Uint8Array(roundTrip(new Uint8Array(70_000).fill(3)) as Uint8Array)).toEqual(
      new Uint8Array(70_000).fill(3),
    );
  });

  it('leaves out properties that are undefined', () => {
    expect(Object.keys(roundTrip({ a: undefined, b: 1 }) as object)).toEqual(['b']);
  });

  it('reads integers in any width, as other writers may choose', () => {
    expect(decodeCbor(fromHex('83' + '1800' + '190001' + '1b0000000000000002'))).toEqual([0, 1, 2n]);
  });
});

describe('encoding refuses what it could not bring back', () => {
  const values: [string, unknown][] = [
    ['an undefined value', [undefined]],
    ['a Map', new Map([['a', 1]])],
    ['a Date', { at: new Date(0) }],
    ['a wide typed array', new Uint16Array(3)],
    ['a function', { f: () => 1 }],
    ['a bigint beyond 64 bits', 2n ** 64n],
    ['half a surrogate pair', 'a\ud800b'],
    ['half a surrogate pair in a long text', `${'x'.repeat(100)}\udc00`],
    ['a __proto__ key', JSON.parse('{"__proto__": 1}')],
  ];
  it.each(values)('%s', (_, value) => {
    expect(errorOf(() => encodeCbor(value)).code).toBe('internal');
  });

  it('a value that contains itself', () => {
    const loop: unknown[] = [];
    loop.push(loop);
    expect(errorOf(() => encodeCbor(loop)).code).toBe('internal');
  });
});

describe('decoding refuses', () => {
  const cases: [string, string, RegExp][] = [
    ['nothing at all', '', /ends in the middle/],
    ['two items', '0101', /bytes behind its end/],
    ['a cut number', '19ff', /announces more/],
    ['a number of an impossible width', '1c', /malformed number/],
    ['a cut byte string', '4401', /announces more/],
    ['an array of four thousand million', '9affffffff', /announces more/],
    ['a map of four thousand million', 'baffffffff', /announces more/],
    ['a text of four thousand million', '7affffffff', /announces more/],
    ['a 64-bit length', '9b0000000000000001f6', /length of a kind/],
    ['an array without a length', '9fff', /length of a kind/],
    ['a text without a length', '7f6161ff', /length of a kind/],
    ['a tag', 'c100', /tagged/],
    ['undefined', 'f7', /kind that images do not use/],
    ['a half-precision number', 'f93c00', /kind that images do not use/],
    ['a break', 'ff', /kind that images do not use/],
    ['text that is not UTF-8', '62c328', /not UTF-8/],
    ['a key that is not text', 'a10101', /key that is not text/],
    ['a key twice', 'a2616101616102', /key "a" twice/],
    ['a __proto__ key', 'a1695f5f70726f746f5f5f01', /__proto__/],
    ['33 levels', `${'81'.repeat(33)}01`, /deeper than 32/],
    ['a hundred thousand levels', '81'.repeat(100_000), /deeper than 32/],
  ];
  it.each(cases)('%s', (_, hex, message) => {
    const error = errorOf(() => decodeCbor(fromHex(hex), 'TASK record at byte 96'));
    expect(error).toBeInstanceOf(ImageError);
    expect(error.code).toBe('bad-record');
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^TASK record at byte 96: .*\.$/);
  });

  it('more values than memory should hold, though each has its byte', () => {
    const bytes = new Uint8Array(5 + 3_000_000).fill(0xa0);
    bytes.set(fromHex('9a002dc6c0'));
    expect(errorOf(() => decodeCbor(bytes)).message).toMatch(/more than 2097152 values/);
  });

  it('reads 32 levels', () => {
    expect(decodeCbor(fromHex(`${'81'.repeat(32)}01`))).toBeDefined();
  });

  it('random bytes, never with another error than its own', () => {
    for (let round = 0; round < 2000; round += 1) {
      const bytes = Uint8Array.from({ length: round % 40 }, () => Math.floor(Math.random() * 256));
      try {
        decodeCbor(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
      }
    }
  });
});
