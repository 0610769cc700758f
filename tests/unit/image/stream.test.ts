import { describe, expect, it } from 'vitest';
import { compressPages } from '../../../src/image/compression.ts';
import { encodeFrame, RECORD_HEADER_SIZE, sealHeader, viewOf } from '../../../src/image/frame.ts';
import { decodeHead, encodeHead } from '../../../src/image/head.ts';
import { encodeZstdChunk, planRawChunk } from '../../../src/image/page-chunk.ts';
import type { ChunkRecord, MetadataRecord } from '../../../src/image/reader.ts';
import { decodeRecord, ImageReader, unpackChunk, verifyChunk } from '../../../src/image/reader.ts';
import { RECORD, recordName } from '../../../src/image/record-types.ts';
import { verifyImage } from '../../../src/image/verify.ts';
import { ImageWriter } from '../../../src/image/writer.ts';
import { crc32c } from '../../../src/support/checksum.ts';
import { ImageError } from '../../../src/support/errors.ts';
import {
  errorOf,
  MemorySink,
  MemorySource,
  pageData,
  readAll,
  recordSpans,
  sampleData,
  sampleHead,
  sampleImage,
  sampleRuns,
  taskState,
  writeImage,
} from './streams.ts';

const image = sampleImage();
const spans = recordSpans(image);
const isChunk = (record: { kind: string }): record is ChunkRecord => record.kind === 'chunk';

describe('an image', () => {
  it('begins with the bytes that the document promises', () => {
    expect(Buffer.from(image.subarray(0, 4)).toString('hex')).toBe('01000000');
    expect(Buffer.from(image.subarray(24, 36)).toString('hex')).toBe('9e5153494d0d0a1a01000000');
  });

  it('has the checksum of Castagnoli', () => {
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe306_9283);
    expect(crc32c(new TextEncoder().encode('6789'), crc32c(new TextEncoder().encode('12345')))).toBe(0xe306_9283);
  });

  it.each([1, 7, 4096, undefined])('reads back record for record when %s bytes arrive at a time', (step) => {
    const records = readAll(image, {}, step);
    expect(records.map((record) => recordName(record.type))).toEqual([
      'HEAD',
      'TASK',
      'STRING',
      'CPU',
      'PGARR',
      'PGARR',
      'PGARR',
    ]);
    expect(records.map((record) => record.objref)).toEqual([0, 1, 1, 1, 2, 2, 3]);
    const [head, task, name, cpu] = records as MetadataRecord[];
    expect(head && decodeHead(head.payload)).toEqual({ formatVersion: 1, state: sampleHead });
    expect(task && decodeRecord(task)).toEqual(taskState);
    expect(name && decodeRecord(name)).toBe('sleeper');
    expect(cpu?.payload).toEqual(new Uint8Array(785).fill(7));
  });

  it('gives the pages back, raw and compressed', () => {
    const [raw, compressed, zeros] = readAll(image).filter(isChunk);
    expect([raw?.encoding, compressed?.encoding, zeros?.encoding]).toEqual(['raw', 'zstd', 'raw']);
    expect(raw?.runs).toEqual(sampleRuns);
    expect(raw && Buffer.from(unpackChunk(raw)).equals(sampleData)).toBe(true);
    expect(compressed && Buffer.from(unpackChunk(compressed)).equals(sampleData)).toBe(true);
    expect(zeros && unpackChunk(zeros)).toHaveLength(0);
    expect(raw && raw.dataPosition % 4096).toBe(0);
  });

  it('reads page data into the buffer that the caller has for it', () => {
    const buffer = new Uint8Array(sampleData.length + 100);
    const asked: number[] = [];
    const bufferFor = (chunk: ChunkRecord): Uint8Array => {
      asked.push(chunk.storedBytes);
      return asked.length === 1 ? buffer : new Uint8Array(chunk.storedBytes);
    };
    const [raw] = readAll(image, { bufferFor }).filter(isChunk);
    expect(asked[0]).toBe(sampleData.length);
    expect(raw?.data?.buffer).toBe(buffer.buffer);
    expect(Buffer.from(buffer.subarray(0, sampleData.length)).equals(sampleData)).toBe(true);
  });

  it('has records with CBOR, opaque bytes and nothing at all in them', () => {
    const empty = writeImage((writer) => {
      writer.bytes(RECORD.THREAD, 9, new Uint8Array(0));
      writer.end();
    });
    expect(readAll(empty)[1]).toMatchObject({ payload: new Uint8Array(0), objref: 9 });
  });

  it('takes a metadata record of many megabytes', () => {
    const payload = pageData(1500);
    const large = writeImage((writer) => {
      writer.bytes(RECORD.CPU, 1, payload);
      writer.end();
    });
    const record = readAll(large, {}, 65_521)[1] as MetadataRecord;
    expect(Buffer.from(record.payload).equals(payload)).toBe(true);
  });
});

describe('page data that others read', () => {
  const skipped = (bytes: Uint8Array) => readAll(bytes, { pageData: 'skip' }).filter(isChunk);

  it('is passed over, and can be found and checked where the record says', () => {
    const chunks = skipped(image);
    expect(chunks).toHaveLength(3);
    for (const chunk of chunks) {
      expect(chunk.data).toBeUndefined();
      const data = image.subarray(chunk.dataPosition, chunk.dataPosition + chunk.storedBytes);
      verifyChunk(chunk, data);
      verifyChunk(chunk, [data.subarray(0, 5), data.subarray(5)]);
    }
  });

  it('is found damaged by who checks it', () => {
    const [chunk] = skipped(image);
    const data = image.slice(chunk?.dataPosition, (chunk?.dataPosition ?? 0) + (chunk?.storedBytes ?? 0));
    data[100] = (data[100] ?? 0) ^ 1;
    const error = errorOf(() => chunk && verifyChunk(chunk, data));
    expect(error.code).toBe('damaged-image');
    expect(error.message).toMatch(/checksum of the PGARR record at byte \d+ does not agree\.$/);
  });

  it('cannot be skipped in a source that cannot skip', () => {
    const pipe = { read: () => 0 };
    expect(errorOf(() => new ImageReader(pipe, { pageData: 'skip' })).code).toBe('internal');
  });

  it('is noticed when it is cut', () => {
    const [chunk] = skipped(image);
    const cut = image.slice(0, (chunk?.dataPosition ?? 0) + 100);
    expect(errorOf(() => readAll(cut, { pageData: 'skip' })).code).toBe('cut-image');
  });
});

describe('page data that others write', () => {
  it('gives the same image as page data through the sink', () => {
    const sink = new MemorySink();
    const writer = new ImageWriter(sink);
    writer.head(sampleHead);
    const plans = [1, 2].map((objref) => {
      const plan = planRawChunk(objref, sampleRuns, writer.position);
      return { plan, position: writer.reserve(plan.totalBytes) };
    });
    writer.record(RECORD.STRING, 1, 'between');
    for (const { plan, position } of plans.toReversed()) {
      writer.noteChecksum(
        position,
        sealHeader(plan.headerBytes, (crc) => crc32c(sampleData, crc)),
      );
      sink.bytes.set(plan.headerBytes, position);
      sink.bytes.set(sampleData, plan.dataPosition);
    }
    writer.end();
    const expected = writeImage((other) => {
      other.chunk(1, sampleRuns, sampleData);
      other.chunk(2, sampleRuns, sampleData);
      other.record(RECORD.STRING, 1, 'between');
      other.end();
    });
    expect(Buffer.from(sink.bytes).equals(expected)).toBe(true);
  });

  it('can come compressed as whole records', () => {
    const frame = compressPages(sampleData, 1) ?? expect.fail();
    const bytes = writeImage((writer) => {
      writer.sealed(encodeZstdChunk(2, sampleRuns, frame));
      writer.end();
    });
    const [chunk] = readAll(bytes).filter(isChunk);
    expect(chunk && Buffer.from(unpackChunk(chunk)).equals(sampleData)).toBe(true);
  });

  it('is missed when it was never written', () => {
    const writer = new ImageWriter(new MemorySink());
    writer.head(sampleHead);
    writer.reserve(4096);
    expect(errorOf(() => writer.end()).message).toMatch(/was never written/);
  });
});

describe('a writer refuses', () => {
  const cases: [string, (writer: ImageWriter) => unknown][] = [
    ['a second HEAD', (writer) => writer.head(sampleHead)],
    ['a record behind TAIL', (writer) => [writer.end(), writer.record(RECORD.TASK, 1, {})]],
    ['a record behind ERROR', (writer) => [writer.fail('x', 'y'), writer.record(RECORD.TASK, 1, {})]],
    ['two ends', (writer) => [writer.end(), writer.end()]],
    ['a chunk with too few bytes', (writer) => writer.chunk(1, sampleRuns, new Uint8Array(4096))],
    ['a checksum for no record', (writer) => writer.noteChecksum(8, 1)],
    ['two checksums for a record', (writer) => writer.noteChecksum(0, 1)],
    ['a place of no whole size', (writer) => writer.reserve(4097)],
    ['half a record', (writer) => writer.sealed(new Uint8Array(23))],
  ];
  it.each(cases)('%s', (_, action) => {
    expect(errorOf(() => writeImage(action)).code).toBe('internal');
  });

  it('anything before HEAD', () => {
    expect(errorOf(() => new ImageWriter(new MemorySink()).record(RECORD.TASK, 1, {})).code).toBe('internal');
  });

  it('a place in a stream without positions', () => {
    const writer = new ImageWriter({ write: () => undefined });
    expect(errorOf(() => writer.reserve(64)).code).toBe('internal');
  });
});

describe('a reader says', () => {
  const failure = (bytes: Uint8Array): string => {
    const error = errorOf(() => readAll(bytes));
    expect(error).toBeInstanceOf(ImageError);
    return `${error.code}: ${error.message}`;
  };
  const span = (index: number) => spans.at(index) ?? expect.fail();
  const part = (index: number) => image.subarray(span(index).start, span(index).end);
  const parts = spans.map((_, index) => part(index));
  /** The image with one record's header or payload changed and its checksum made anew. */
  const resealed = (index: number, change: (view: DataView) => void): Uint8Array => {
    const record = part(index).slice();
    change(viewOf(record));
    const length = Number(viewOf(record).getBigUint64(8, true));
    sealHeader(record.subarray(0, Math.min(RECORD_HEADER_SIZE + length, record.length)));
    return Buffer.concat(parts.with(index, record));
  };

  it('that a file is empty', () => {
    expect(failure(new Uint8Array(0))).toBe('not-an-image: This is not a quicksave image: it is empty.');
  });

  it.each(['#!/bin/sh\n', '\x7fELF', '{"a": 1}'.repeat(100), '\u0001'])('that %j is no image', (text) => {
    expect(failure(new TextEncoder().encode(text))).toMatch(/^(not-an-image|cut-image): /);
  });

  it('that an image of another program is no image', () => {
    expect(failure(resealed(0, (view) => view.setUint8(24, 0)))).toMatch(/^not-an-image: .*magic/);
  });

  it('that an image is newer than itself', () => {
    expect(failure(resealed(0, (view) => view.setUint32(32, 7, true)))).toBe(
      'newer-format: This image has format version 7; this quicksave reads up to 1.',
    );
  });

  it('that the save behind an image failed, and why', () => {
    const failed = writeImage((writer) => writer.fail('no-memory', 'pid 12 went away (1\ud800).'));
    expect(failure(failed)).toBe(
      'checkpoint-failed: The checkpoint that wrote this image failed: pid 12 went away (1?).',
    );
  });

  it('where an image is cut, at any byte', () => {
    const boundaries = new Set(spans.map(({ start }) => start));
    for (let length = 1; length < image.length; length += length < 2000 ? 1 : 37) {
      const expected = boundaries.has(length)
        ? `cut-image: The image ends at byte ${length} without its TAIL record; it was cut or is still being written.`
        : `cut-image: The image ends in the middle of a record at byte ${length}; it was cut or is still being written.`;
      expect(failure(image.subarray(0, length))).toBe(expected);
    }
  });

  it('that a cut image claims gigabytes, without taking them', () => {
    const header = new Uint8Array(RECORD_HEADER_SIZE);
    viewOf(header).setUint16(0, RECORD.TASK, true);
    viewOf(header).setBigUint64(8, 64n * 1024n * 1024n, true);
    const before = process.memoryUsage().arrayBuffers;
    expect(failure(Buffer.concat([part(0), header]))).toMatch(/^cut-image/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  });

  it('that a record of gigabytes is absurd', () => {
    expect(failure(resealed(1, (view) => view.setBigUint64(8, 2n ** 40n, true)))).toMatch(
      /^bad-record: TASK record at byte \d+: its length of 1099511627776 bytes is absurd\.$/,
    );
    expect(failure(resealed(1, (view) => view.setBigUint64(8, 2n ** 63n, true)))).toMatch(/^bad-record: .*absurd/);
    expect(failure(resealed(5, (view) => view.setBigUint64(8, 2n ** 40n, true)))).toMatch(/^bad-record: PGARR.*absurd/);
  });

  it('that a byte was changed', () => {
    const changed = image.slice();
    changed[span(1).start + 30] = 0;
    expect(failure(changed)).toBe(
      `damaged-image: The image is damaged: the checksum of the TASK record at byte ${span(1).start} does not agree.`,
    );
  });

  it('that padding was changed', () => {
    const changed = image.slice();
    changed[span(3).end - 1] = 1;
    expect(failure(changed)).toMatch(/^damaged-image: .*padding of the CPU record/);
  });

  it('that something follows the end', () => {
    expect(failure(Buffer.concat([image, new Uint8Array(8)]))).toMatch(/^damaged-image: .*something follows its end/);
    expect(failure(Buffer.concat([image, image]))).toMatch(/^damaged-image/);
  });

  it('that a record is missing, doubled or moved', () => {
    expect(failure(Buffer.concat(parts.toSpliced(6, 1)))).toMatch(/^damaged-image: .*it has 7 records where 8 /);
    expect(failure(Buffer.concat(parts.toSpliced(6, 0, part(6))))).toMatch(/^damaged-image: .*it has 9 records/);
    expect(failure(Buffer.concat(parts.with(1, part(2)).with(2, part(1))))).toMatch(
      /^damaged-image: .*not in their order/,
    );
  });

  it('that a record has another place in the pages of a file', () => {
    const moved = Buffer.concat(parts.with(4, part(5)).with(5, part(4)));
    expect(failure(moved)).toMatch(/^(bad-record|damaged-image)/);
  });

  it('that a second HEAD is one too many', () => {
    expect(failure(Buffer.concat(parts.toSpliced(2, 0, part(0))))).toMatch(/^bad-record: .*only one HEAD/);
  });

  it('which record it does not know', () => {
    const unknown = writeImage((writer) => {
      writer.record(4711, 0, {});
      writer.end();
    });
    expect(failure(unknown)).toMatch(/^unknown-record: The record at byte \d+ is of type 4711, which this quicksave/);
  });

  it('that flags or reserved bits are unknown', () => {
    expect(failure(resealed(1, (view) => view.setUint16(2, 2, true)))).toMatch(/^bad-record: .*unknown flags \(0x2\)/);
    expect(failure(resealed(1, (view) => view.setUint32(20, 1, true)))).toMatch(/^bad-record: .*reserved/);
  });

  it('that TAIL is malformed or disagrees', () => {
    expect(failure(resealed(-1 + parts.length, (view) => view.setUint8(24, 1)))).toMatch(/^bad-record: TAIL/);
    expect(failure(resealed(-1 + parts.length, (view) => view.setUint8(32, 9)))).toMatch(/^damaged-image: .*8 records/);
    expect(failure(resealed(-1 + parts.length, (view) => view.setUint8(40, view.getUint8(40) ^ 1)))).toMatch(
      /^damaged-image: .*not in their order/,
    );
  });

  it('which field of HEAD is wrong', () => {
    const { kernel, ...rest } = sampleHead;
    expect(kernel.machine).toBe('x86_64');
    const payload = encodeHead(rest as typeof sampleHead);
    expect(errorOf(() => decodeHead(payload)).message).toBe('HEAD record at byte 0: kernel is missing.');
  });

  it('that HEAD has bytes behind its content', () => {
    const payload = Buffer.concat([encodeHead(sampleHead), new Uint8Array(1)]);
    expect(errorOf(() => decodeHead(payload)).message).toMatch(/its length does not agree/);
  });
});

describe('verify', () => {
  it('sums up an image', () => {
    expect(verifyImage(new MemorySource(image))).toMatchObject({
      head: { formatVersion: 1, state: sampleHead },
      records: 9,
      skippedRecords: 1,
      bytes: image.length,
      chunks: 3,
      dataPages: 6,
      zeroPages: 2000 + 0xffff_ffff,
      rawBytes: 2 * sampleData.length,
    });
  });

  it('finds content that is no CBOR though its checksum agrees', () => {
    const bytes = writeImage((writer) => {
      writer.sealed(encodeFrame(RECORD.TASK, 0, 1, Uint8Array.from([0xff])));
      writer.end();
    });
    expect(errorOf(() => verifyImage(new MemorySource(bytes))).code).toBe('bad-record');
  });

  it('finds compressed pages that are no zstd frame though their checksum agrees', () => {
    const bytes = writeImage((writer) => {
      writer.sealed(encodeZstdChunk(2, sampleRuns, new Uint8Array(50)));
      writer.end();
    });
    expect(errorOf(() => verifyImage(new MemorySource(bytes))).message).toMatch(/not one whole zstd frame/);
  });
});
