/** Signed images: whatever of one is changed, with all checksums right, is seen. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { RECORD_HEADER_SIZE } from '../../../src/image/frame.ts';
import { rawPublicKey, type Signer } from '../../../src/image/key-files.ts';
import { type ChunkRecord, ImageReader } from '../../../src/image/reader.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { digestOf } from '../../../src/image/signature.ts';
import { ImageWriter } from '../../../src/image/writer.ts';
import { QuicksaveError } from '../../../src/support/errors.ts';
import { rewritten } from './encrypted-images.ts';
import { errorOf, MemorySink, MemorySource, recordSpans, sampleImage } from './streams.ts';

const keys = generateKeyPairSync('ed25519');
const signerOf = ({ privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject }): Signer => ({
  publicKey: rawPublicKey(publicKey),
  sign: (message) => sign(null, message, privateKey),
});
const plain = sampleImage();
const signed = rewritten(plain, { recipients: [], signer: signerOf(keys) });

function read(image: Uint8Array, signedBy: KeyObject | undefined): ImageReader {
  const reader = new ImageReader(new MemorySource(image), { signedBy });
  while (reader.next() !== undefined);
  return reader;
}

/** With the data passed over, as a file is read. */
function readMapped(image: Uint8Array, signedBy: KeyObject): void {
  const reader = new ImageReader(new MemorySource(image), { signedBy, pageData: 'skip' });
  const chunks: ChunkRecord[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind === 'chunk') chunks.push(record);
  }
  reader.checkSignature(
    chunks.map(({ dataPosition, storedBytes }) => digestOf([image.subarray(dataPosition, dataPosition + storedBytes)])),
  );
}

const typeOf = (record: Uint8Array): number => (record[0] ?? 0) + (record[1] ?? 0) * 256;
const recordsOf = (image: Uint8Array): Uint8Array[] =>
  recordSpans(image).map(({ start, end }) => image.subarray(start, end));

/** The records with checksums and a TAIL that are right. */
function sealed(records: readonly Uint8Array[]): Uint8Array {
  const sink = new MemorySink();
  const writer = new ImageWriter(sink);
  for (const record of records) {
    if (typeOf(record) === RECORD.TAIL) continue;
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    const payload = record.subarray(RECORD_HEADER_SIZE, RECORD_HEADER_SIZE + Number(view.getBigUint64(8, true)));
    writer.bytes(typeOf(record), view.getUint32(16, true), payload, view.getUint16(2, true));
  }
  writer.end();
  return sink.bytes;
}

test('a signed image is the image with one record more, which readers without a key pass over', () => {
  expect(recordsOf(signed).length).toBe(recordsOf(plain).length + 1);
  expect(read(signed, undefined).recordCount).toBe(read(plain, undefined).recordCount + 1);
  const optional = new DataView(signed.buffer, signed.byteOffset).getUint16(
    recordSpans(signed).at(-2)?.start ?? 0,
    true,
  );
  expect(optional).toBe(RECORD.SIGNATURE);
});

test('whoever has the public key sees that it is the one that was signed', () => {
  const { signature } = read(signed, keys.publicKey);
  expect(Buffer.from(signature?.publicKey ?? [])).toEqual(rawPublicKey(keys.publicKey));
  readMapped(signed, keys.publicKey);
});

test('an image that is not signed, or by another', () => {
  const other = generateKeyPairSync('ed25519');
  for (const reading of [read, readMapped]) {
    expect(errorOf(() => reading(plain, keys.publicKey)).code).toBe('not-signed');
    expect(errorOf(() => reading(signed, other.publicKey)).code).toBe('wrong-signer');
  }
});

test('an image that claims to be signed by a key that has not signed it', () => {
  const forger = { ...signerOf(generateKeyPairSync('ed25519')), publicKey: rawPublicKey(keys.publicKey) };
  const forged = rewritten(plain, { recipients: [], signer: forger });
  for (const reading of [read, readMapped]) {
    expect(errorOf(() => reading(forged, keys.publicKey)).code).toBe('bad-signature');
  }
});

describe('a change with right checksums', () => {
  const records: Uint8Array[] = recordsOf(signed).map((record) => Uint8Array.from(record));
  const count = records.length - 2;

  test('is none if nothing is changed', () => {
    expect(Buffer.from(sealed(records)).equals(signed)).toBe(true);
  });

  test.for(Array.from({ length: count }, (_, index) => index))('of one byte of record %i', (index) => {
    const record = records[index] as Uint8Array;
    const length = Number(new DataView(record.buffer).getBigUint64(8, true));
    const isChunk = typeOf(record) === RECORD.PGARR;
    // The last byte of data, the last of the runs' addresses, or of whatever else it has.
    for (const at of isChunk
      ? [RECORD_HEADER_SIZE + length - 1, RECORD_HEADER_SIZE + 32 + 5]
      : [RECORD_HEADER_SIZE + length - 1]) {
      const changed = Uint8Array.from(record);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const image = sealed(records.with(index, changed));
      for (const reading of [read, readMapped]) {
        const { code } = errorOf(() => reading(image, keys.publicKey));
        expect(['bad-signature', 'bad-record']).toContain(code);
      }
    }
  });

  test('of an objref, or of the order', () => {
    const changed = Uint8Array.from(records[3] as Uint8Array);
    changed[16] = 9;
    expect(errorOf(() => read(sealed(records.with(3, changed)), keys.publicKey)).code).toBe('bad-signature');
    const exchanged = records.with(2, records[3] as Uint8Array).with(3, records[2] as Uint8Array);
    expect(errorOf(() => read(sealed(exchanged), keys.publicKey)).code).toBe('bad-signature');
    const last = recordsOf(signed).findLastIndex((record) => typeOf(record) === RECORD.PGARR);
    expect(errorOf(() => read(sealed(records.toSpliced(last, 1)), keys.publicKey)).code).toBe('bad-signature');
  });

  test('of what stands behind the signature', () => {
    const image = sealed([...records.slice(0, -1), records[2] as Uint8Array]);
    expect(errorOf(() => read(image, keys.publicKey)).message).toMatch(/behind the signature/);
    const twice = sealed([...records.slice(0, -1), records.at(-2) as Uint8Array]);
    expect(errorOf(() => read(twice, undefined)).message).toMatch(/behind the signature/);
  });

  test('of the signature itself', () => {
    const last = records.at(-2) as Uint8Array;
    for (const [at, code] of [
      [24, 'bad-record'],
      [28, 'bad-record'],
      [32, 'wrong-signer'],
      [64, 'bad-signature'],
      [127, 'bad-signature'],
    ] as const) {
      const changed = Uint8Array.from(last);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(errorOf(() => read(sealed(records.with(-2, changed)), keys.publicKey)).code, `byte ${at}`).toBe(code);
    }
  });
});

test('a signature that is not checked is no reason to refuse', () => {
  const error = (): QuicksaveError => errorOf(() => read(plain, keys.publicKey));
  expect(error()).toBeInstanceOf(QuicksaveError);
  expect(error().name).toBe('QuicksaveError');
  expect(read(signed, undefined).signature).toBeDefined();
});
