/** Encrypted images: who can open them, and that nothing that was changed opens. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ImageStream } from '../../../src/checkpoint/write-image.ts';
import { EncryptedSource, type SegmentPlace } from '../../../src/image/encrypted-source.ts';
import { envelopeSize, newEnvelope, openEnvelope } from '../../../src/image/envelope.ts';
import type { Keyring, Recipient } from '../../../src/image/key-files.ts';
import { noKeys } from '../../../src/image/key-files.ts';
import { ImageReader } from '../../../src/image/reader.ts';
import { SEGMENT_OVERHEAD, sealSegment } from '../../../src/image/segment.ts';
import { ImageError, QuicksaveError } from '../../../src/support/errors.ts';
import { decrypted, MemoryOutput, partsOf, rewritten } from './encrypted-images.ts';
import { errorOf, MemorySource, sampleHead, sampleImage } from './streams.ts';

const secret = randomBytes(32);
const pair = generateKeyPairSync('x25519');
const withSecret: Keyring = { secrets: [secret], privateKeys: [] };
const withPrivateKey: Keyring = { secrets: [], privateKeys: [pair.privateKey] };
const forSecret: Recipient = { kind: 'secret', secret };
const forKey: Recipient = { kind: 'x25519', publicKey: pair.publicKey };

const encrypted = (...recipients: Recipient[]): Buffer => rewritten(sampleImage(), { recipients, signer: undefined });

/** What a reader says of it; anything but a refusal fails the test. */
const refusal = (image: Uint8Array): string => {
  const error = errorOf(() => {
    if (decrypted(image, withSecret) === undefined) throw new QuicksaveError('wrong-key', 'not for this key');
  });
  expect(['damaged-image', 'cut-image', 'wrong-key']).toContain(error.code);
  return error.code;
};

describe('whoever an image is for', () => {
  const image = encrypted(forSecret, forKey, { kind: 'secret', secret: randomBytes(32) });

  test('reads the plain image, byte by byte', () => {
    const plain = decrypted(image, withSecret);
    expect(plain?.subarray(24, 32).toString('hex')).toBe('9e5153494d0d0a1a');
    expect(decrypted(image, withPrivateKey, 7)).toEqual(plain);
    const reader = new ImageReader(new MemorySource(plain ?? Buffer.alloc(0)));
    while (reader.next() !== undefined);
    expect(reader.recordCount).toBe(8);
  });

  test('is nobody else', () => {
    expect(decrypted(image, noKeys)).toBeUndefined();
    expect(decrypted(image, { secrets: [randomBytes(32)], privateKeys: [] })).toBeUndefined();
    const { privateKey } = generateKeyPairSync('x25519');
    expect(decrypted(image, { secrets: [], privateKeys: [privateKey] })).toBeUndefined();
  });

  test('a point of small order is no key (RFC 7748, section 6.1)', () => {
    const { envelope } = partsOf(encrypted(forKey));
    for (const byte of [0, 1]) {
      const forged = Buffer.from(envelope);
      forged.fill(0, 56 + 8, 56 + 40);
      forged[56 + 8] = byte;
      expect(openEnvelope(forged, withPrivateKey)).toBeUndefined();
    }
  });
});

test('nothing of an image stands in it readably', () => {
  const image = encrypted(forSecret);
  expect(image.includes('sleeper')).toBe(false);
  expect(image.includes(sampleHead.imageId)).toBe(false);
  expect(image.includes('quicksave')).toBe(false);
});

test('two images with the same key have neither salt nor key in common', () => {
  const [a, b] = [newEnvelope([forSecret]), newEnvelope([forSecret])];
  expect(a.key).not.toEqual(b.key);
  expect(a.bytes.subarray(16, 48)).not.toEqual(b.bytes.subarray(16, 48));
  expect(openEnvelope(a.bytes, withSecret)).toEqual(a.key);
});

describe('what is refused', () => {
  const image = encrypted(forSecret);
  const { envelope, segments } = partsOf(image);
  const together = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat([envelope, ...parts]);

  test('the image itself is not', () => {
    expect(segments.length).toBeGreaterThan(4);
    expect(decrypted(together(...segments), withSecret)).toBeInstanceOf(Buffer);
  });

  test('a flipped bit, wherever it is', () => {
    const step = Math.ceil(image.length / 1500);
    const places = new Set([
      ...Array.from({ length: envelope.length + 40 }, (_, at) => at),
      ...Array.from({ length: Math.floor(image.length / step) }, (_, index) => index * step),
    ]);
    let start = envelope.length;
    for (const segment of segments) {
      for (let at = 0; at < 9; at++) places.add(start + at);
      for (let at = 1; at <= 17; at++) places.add(start + segment.length - at);
      start += segment.length;
    }
    for (const at of places) {
      // What the magic number is not there for is another kind of file.
      if (at < 8) continue;
      const changed = Buffer.from(image);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at & 7));
      refusal(changed);
    }
  });

  test('a cut, before, at and behind each boundary', () => {
    let end = envelope.length;
    const ends = [end, ...segments.map(({ length }) => (end += length))];
    for (const boundary of ends) {
      for (const cut of [boundary - 17, boundary - 1, boundary, boundary + 1, boundary + 8, boundary + 9]) {
        if (cut < envelope.length || cut >= image.length) continue;
        expect(refusal(image.subarray(0, cut))).toBe('cut-image');
      }
    }
  });

  test('segments that are exchanged, left out, or there twice', () => {
    segments.forEach((segment, index) => {
      refusal(together(...segments.toSpliced(index, 1)));
      refusal(together(...segments.toSpliced(index, 0, segment)));
      segments.forEach((other, place) => {
        if (place > index) refusal(together(...segments.with(index, other).with(place, segment)));
      });
    });
  });

  test('two of equal length that are exchanged', () => {
    const key = openEnvelope(envelope, withSecret) ?? new Uint8Array(32);
    const [first, second, last] = [100, 100, 8].map((length, index) =>
      Buffer.concat(sealSegment(key, index * 100, [randomBytes(length)], { isLast: index === 2 })),
    ) as [Buffer, Buffer, Buffer];
    expect(decrypted(together(first, second, last), withSecret)?.length).toBe(208);
    expect(refusal(together(second, first, last))).toBe('damaged-image');
    expect(refusal(together(first, first, last))).toBe('damaged-image');
  });

  test('a segment of another image with the same key, at its own place', () => {
    const other = partsOf(encrypted(forSecret));
    segments.forEach((_, index) => {
      expect(refusal(together(...segments.with(index, other.segments[index] as Buffer)))).toBe('damaged-image');
    });
    expect(refusal(Buffer.concat([other.envelope, ...segments]))).toBe('damaged-image');
  });

  test('an end that is none', () => {
    for (let index = 0; index < segments.length - 1; index++) {
      const last = Buffer.from(segments[index] as Buffer);
      last.writeUInt32LE(1, 4);
      expect(refusal(together(...segments.slice(0, index), last))).toBe('damaged-image');
    }
    const last = Buffer.from(segments.at(-1) as Buffer);
    last.writeUInt32LE(0, 4);
    expect(refusal(together(...segments.slice(0, -1), last))).toBe('damaged-image');
  });

  test('something behind the end, the image itself too', () => {
    expect(refusal(Buffer.concat([image, image]))).toBe('damaged-image');
    expect(refusal(Buffer.concat([image, Buffer.alloc(1)]))).toBe('damaged-image');
    expect(refusal(together(...segments, segments[0] as Buffer))).toBe('damaged-image');
  });

  test('a length that lies costs no memory', () => {
    const header = Buffer.alloc(8);
    header.writeUInt32LE(64 * 1024 * 1024);
    expect(refusal(together(header))).toBe('cut-image');
    for (const length of [0, 64 * 1024 * 1024 + 1, 0xffff_ffff]) {
      header.writeUInt32LE(length);
      expect(refusal(together(header, Buffer.alloc(100)))).toBe('damaged-image');
    }
  });

  test('an envelope that cannot be one', () => {
    for (const size of [0, 56, 57, 56 + 88 + 1, 56 + 65 * 88, 0xffff_ffff]) {
      const start = Buffer.from(envelope.subarray(0, 16));
      start.writeUInt32LE(size, 12);
      expect(errorOf(() => envelopeSize(start))).toBeInstanceOf(ImageError);
    }
    const later = Buffer.from(envelope);
    later.writeUInt32LE(2, 8);
    expect(errorOf(() => envelopeSize(later)).message).toMatch(/unknown version 2/);
  });
});

describe('data of page chunks', () => {
  test('is passed over unopened, and found where it is said to be', () => {
    const image = encrypted(forSecret);
    const size = envelopeSize(image);
    const key = openEnvelope(image.subarray(0, size), withSecret) ?? new Uint8Array(32);
    const places: SegmentPlace[] = [];
    const onPassedOver = (place: SegmentPlace): void => void places.push(place);
    const source = new EncryptedSource(new MemorySource(image.subarray(size)), {
      key,
      filePosition: size,
      onPassedOver,
    });
    const reader = new ImageReader(source, { pageData: 'skip' });
    const chunks = [];
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'chunk' && record.storedBytes > 0) chunks.push(record);
    }
    expect(chunks).toHaveLength(2);
    expect(places.map(({ position, length }) => [position, length])).toEqual(
      chunks.map(({ dataPosition, storedBytes }) => [dataPosition, storedBytes]),
    );
    for (const { filePosition, length } of places) expect(image.readUInt32LE(filePosition - 8)).toBe(length);
  });

  test('a segment that was passed over and is another length is noticed behind it', () => {
    const image = encrypted(forSecret);
    const { envelope, segments } = partsOf(image);
    const pages = segments.findIndex(({ length }) => length === 3 * 4096 + SEGMENT_OVERHEAD);
    const shorter = Buffer.from((segments[pages] as Buffer).subarray(0, -4096));
    shorter.writeUInt32LE(shorter.length - SEGMENT_OVERHEAD);
    const changed = Buffer.concat([envelope, ...segments.with(pages, shorter)]);
    const key = openEnvelope(envelope, withSecret) ?? new Uint8Array(32);
    const source = new EncryptedSource(new MemorySource(changed.subarray(envelope.length)), {
      key,
      filePosition: envelope.length,
    });
    const reader = new ImageReader(source, { pageData: 'skip' });
    const error = errorOf(() => {
      while (reader.next() !== undefined);
    });
    expect(error.code).toBe('damaged-image');
  });
});

test('a save that fails ends its encrypted stream with the reason', () => {
  const output = new MemoryOutput();
  const stream = new ImageStream(output, { recipients: [forSecret], signer: undefined });
  stream.head(sampleHead);
  stream.flush();
  // Others have written a chunk of 800 bytes, as one segment, and the next has failed.
  const { key } = stream.encryption ?? { key: new Uint8Array(32) };
  const begun = stream.writer.position;
  const chunk = Buffer.concat(sealSegment(key, begun, [randomBytes(800)]));
  output.bytes = Buffer.concat([output.bytes, chunk]);
  const written = output.bytes.length;
  output.write = (bytes) => {
    output.bytes = Buffer.concat([output.bytes, bytes]);
  };
  stream.fail(new QuicksaveError('refused', 'It has a thing.'), begun + 800);
  expect(output.bytes.length).toBeGreaterThan(written);
  const plain = decrypted(output.bytes, withSecret);
  expect(plain?.subarray(begun + 800).includes('It has a thing.')).toBe(true);
});

test('a record that is larger than a segment may be is cut into several', () => {
  const output = new MemoryOutput();
  const stream = new ImageStream(output, { recipients: [forSecret], signer: undefined });
  stream.head(sampleHead);
  const payload = randomBytes(9 * 1024 * 1024);
  stream.writer.bytes(777, 0, payload, 1);
  stream.end();
  expect(partsOf(output.bytes).segments.length).toBeGreaterThan(2);
  const plain = decrypted(output.bytes, withSecret) ?? Buffer.alloc(0);
  expect(plain.includes(payload)).toBe(true);
});
