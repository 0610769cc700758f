/**
 * Broken images by the thousand: each must be refused with an ImageError and nothing else. Where checksums are made anew, as one
 * who forges an image would, it may also be accepted, but only without another kind of error.
 */
import { describe, expect, it } from 'vitest';
import { RECORD_HEADER_SIZE, sealHeader, viewOf } from '../../../src/image/frame.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { ChecksumDigest, encodeTail } from '../../../src/image/tail.ts';
import { verifyImage } from '../../../src/image/verify.ts';
import { crc32c } from '../../../src/support/checksum.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { MemorySource, recordSpans, sampleImage } from './streams.ts';

const image = sampleImage();
const records = recordSpans(image).map(({ start, end }) => image.subarray(start, end));

/** A generator of its own, so that a failure comes again. Numerical Recipes' constants, taken as numbers. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** `accepted`, or the code of the ImageError; any other error is thrown on. */
function outcome(bytes: Uint8Array, what: string): string {
  try {
    verifyImage(new MemorySource(bytes));
    return 'accepted';
  } catch (error) {
    expect(error, what).toBeInstanceOf(ImageError);
    const { message, code } = error as ImageError;
    expect(message, what).toMatch(/^[A-Z].*\.$/);
    return code;
  }
}

/** All checksums, the record count and the digest made anew: what only a forger would do. */
function reforge(parts: readonly Uint8Array[]): Uint8Array {
  const digest = new ChecksumDigest();
  const sealed = parts.map((part) => {
    const record = part.slice();
    const length = Math.min(Number(viewOf(record).getBigUint64(8, true)), record.length - RECORD_HEADER_SIZE);
    digest.add(sealHeader(record.subarray(0, RECORD_HEADER_SIZE + length)));
    return record;
  });
  const tail = new Uint8Array(RECORD_HEADER_SIZE + 48);
  viewOf(tail).setUint16(0, RECORD.TAIL, true);
  viewOf(tail).setBigUint64(8, 48n, true);
  tail.set(encodeTail(digest.finish()), RECORD_HEADER_SIZE);
  sealHeader(tail);
  return Buffer.concat([...sealed, tail]);
}

const body = records.slice(0, -1);
const interesting = [0, 1, 0x7f, 0x80, 0xff, 0xfe];

describe('a broken image is refused', () => {
  it('the intact one is not, also with its checksums made anew', () => {
    expect(outcome(image, 'intact')).toBe('accepted');
    expect(crc32c(reforge(body))).toBe(crc32c(image));
  });

  it('with any one bit flipped', () => {
    const random = randomFrom(1);
    for (let round = 0; round < 1500; round += 1) {
      const bit = round < 800 ? round : random(image.length * 8);
      const changed = image.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(outcome(changed, `bit ${bit}`), `bit ${bit}`).not.toBe('accepted');
    }
  });

  it('with any piece cut out, doubled or exchanged', () => {
    const random = randomFrom(2);
    for (let round = 0; round < 500; round += 1) {
      const start = random(image.length);
      const end = Math.min(image.length, start + 1 + random(random(2) === 0 ? 64 : image.length));
      const piece = image.subarray(start, end);
      const times = random(2) * 2;
      const changed = Buffer.concat([
        image.subarray(0, start),
        ...Array.from({ length: times }, () => piece),
        image.subarray(end),
      ]);
      expect(outcome(changed, `bytes ${start}-${end} ${times} times`)).not.toBe('accepted');
    }
  });

  it('with its records in any other order, number or choice', () => {
    const random = randomFrom(3);
    for (let round = 0; round < 300; round += 1) {
      const changed = Array.from(
        { length: 1 + random(12) },
        () => records[random(records.length)] ?? new Uint8Array(0),
      );
      const isSame = crc32c(Buffer.concat(changed)) === crc32c(image);
      expect(outcome(Buffer.concat(changed), `round ${round}`) === 'accepted').toBe(isSame);
    }
  });
});

describe('a forged image is refused or read, never worse', () => {
  const codes = new Map<string, number>();
  const note = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1);

  it('with bytes of its payloads and headers changed', () => {
    const random = randomFrom(4);
    for (let round = 0; round < 3000; round += 1) {
      const index = random(body.length);
      const record = (body[index] ?? new Uint8Array(0)).slice();
      for (let changes = 1 + random(3); changes > 0; changes -= 1) {
        // Mostly near the beginning: headers, counts and lengths are there.
        const at = random(random(2) === 0 ? Math.min(record.length, 160) : record.length);
        record[at] = random(2) === 0 ? (interesting[random(interesting.length)] ?? 0) : random(256);
      }
      note(outcome(reforge(body.with(index, record)), `round ${round} in record ${index}`));
    }
    expect([...codes.keys()]).toEqual(
      expect.arrayContaining(['accepted', 'bad-record', 'cut-image', 'unknown-record']),
    );
  });

  it('with lengths and counts of every size', () => {
    const sizes = [0n, 1n, 7n, 2n ** 16n, 2n ** 26n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
    for (const [index, original] of body.entries()) {
      for (let at = 0; at + 8 <= Math.min(original.length, 160); at += 4) {
        for (const size of sizes) {
          const record = original.slice();
          viewOf(record).setBigUint64(at, size, true);
          outcome(reforge(body.with(index, record)), `${size} at ${at} of record ${index}`);
        }
      }
    }
  });

  it('with its records in any order', () => {
    const random = randomFrom(5);
    for (let round = 0; round < 300; round += 1) {
      const changed = Array.from({ length: 1 + random(10) }, () => body[random(body.length)] ?? new Uint8Array(0));
      outcome(reforge(random(4) === 0 ? changed : [body[0] ?? new Uint8Array(0), ...changed]), `round ${round}`);
    }
  });
});
