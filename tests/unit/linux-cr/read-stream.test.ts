import { describe, expect, it } from 'vitest';
import { encodeThread } from '../../../src/arch/x86/records.ts';
import { CR_HDR, CR_HEADER_SIZE, PAGE } from '../../../src/linux-cr/layout.ts';
import { readLinuxCr } from '../../../src/linux-cr/read-stream.ts';
import { MAX_CHUNK_PAGES } from '../../../src/linux-cr/write-stream.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { bytesOf, HEAP, PID, pageAt, recordsIn, sample, somePages, sourceFrom } from './streams.ts';

const good = bytesOf();
const at = (type: number, nth = 0): number =>
  recordsIn(good).filter((record) => record.type === type)[nth]?.offset ?? -1;

/** The error that a stream is refused with. */
function refusalOf(bytes: Uint8Array, skips = true): ImageError {
  try {
    readLinuxCr(sourceFrom(bytes, skips));
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error('the stream was read');
}

function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(good);
  change(bytes);
  return bytes;
}

describe('a stream of 2008', () => {
  it.each([true, false])('gives back what was written (a source that skips: %s)', (skips) => {
    const read = readLinuxCr(sourceFrom(good, skips));
    expect(read).toMatchObject({ pid: PID, comm: 'wörker', sizeBytes: good.length, records: recordsIn(good).length });
    expect(read.head).toMatchObject(sample.head);
    expect(read.mm.fields).toEqual(sample.fields);
    expect(read.vmas.map(({ offset, spans, ...vma }) => vma)).toEqual(
      sample.vmas.map(({ keepsZeroPages, ...vma }) => vma),
    );
    expect(read.files.entries).toEqual(sample.descriptors.map(({ description, ...entry }) => entry));
    expect(read.descriptions.map(({ offset, objref, ...rest }) => rest)).toEqual(
      sample.descriptors.flatMap(({ description }) => (description === undefined ? [] : [description])),
    );
    expect(read.memoryContext.payload).toEqual(sample.memoryContext);
    expect(read.thread.payload).toEqual(sample.thread);
    expect(read.cpu.payload).toEqual(sample.cpu);
  });

  it('has each page where its span says', () => {
    const spans = readLinuxCr(sourceFrom(good)).vmas.flatMap((vma) => vma.spans);
    expect(spans.map(({ address, pages }) => [address, pages])).toContainEqual([HEAP + 2 * PAGE, 1]);
    for (const { address, position } of spans) {
      expect(Buffer.from(good.subarray(position, position + PAGE)).equals(pageAt(address))).toBe(true);
    }
  });

  it('has the thread areas although none is in use, and goes on rightly behind them', () => {
    const bytes = bytesOf({ ...sample, thread: encodeThread(new Uint8Array(24)) });
    const read = readLinuxCr(sourceFrom(bytes));
    expect(read.thread.payload.readInt16LE(4)).toBe(0);
    expect(read.thread.payload).toHaveLength(8 + 24);
    expect(read.cpu.payload).toEqual(sample.cpu);
  });

  it('counts the pages of each chunk anew in a mapping of more than 16 MiB', () => {
    const [heap] = sample.vmas.filter(({ start }) => start === HEAP);
    if (heap === undefined) throw new Error('no heap');
    const pages = 2 * MAX_CHUNK_PAGES + 3;
    const all = Uint32Array.from({ length: pages }, (_, index) => HEAP + index * PAGE);
    const vmas = sample.vmas.map((vma) => (vma === heap ? { ...heap, end: HEAP + pages * PAGE } : vma));
    const source = {
      ...somePages,
      addressesIn: ({ start }: { start: number }) => (start === HEAP ? all : new Uint32Array(0)),
    };
    const bytes = bytesOf({ ...sample, vmas }, source);
    const counts = recordsIn(bytes).flatMap(({ type, offset }) =>
      type === CR_HDR.PGARR ? [Number(bytes.readBigUInt64LE(offset + CR_HEADER_SIZE))] : [],
    );
    expect(counts.filter((count) => count > 0)).toEqual([MAX_CHUNK_PAGES, MAX_CHUNK_PAGES, 3]);
    const { spans } = readLinuxCr(sourceFrom(bytes)).vmas.find(({ start }) => start === HEAP) ?? { spans: [] };
    expect(spans.map(({ pages: length }) => length)).toEqual([MAX_CHUNK_PAGES, MAX_CHUNK_PAGES, 3]);
    expect(spans.map(({ address }) => address)).toEqual([0, 1, 2].map((nth) => HEAP + nth * MAX_CHUNK_PAGES * PAGE));
  });

  it.each([true, false])('is refused wherever it is cut (a source that skips: %s)', (skips) => {
    const places = recordsIn(good).flatMap(({ offset, behind }) => {
      const payload = offset + CR_HEADER_SIZE;
      const end = payload + good.readInt16LE(offset + 2);
      return [offset, offset + 1, payload, end - 1, end, end + 1, end + behind - 1];
    });
    for (const length of new Set(places.filter((place) => place < good.length))) {
      expect(refusalOf(good.subarray(0, length), skips).code, `cut at ${length}`).toBe('cut-image');
    }
  });

  it('is refused with something behind its end', () => {
    expect(refusalOf(Buffer.concat([good, Buffer.alloc(1)])).code).toBe('damaged-image');
  });

  it('is refused with any record left out, repeated, or of another type', () => {
    for (const { offset, behind, type } of recordsIn(good)) {
      const end = offset + CR_HEADER_SIZE + good.readInt16LE(offset + 2) + behind;
      const [before, it, after] = [good.subarray(0, offset), good.subarray(offset, end), good.subarray(end)];
      const hasPages = type === CR_HDR.PGARR && behind > 0;
      // Nothing in the format says how many pages a mapping has.
      if (!hasPages) expect(refusalOf(Buffer.concat([before, after])), `${type} left out`).toBeInstanceOf(ImageError);
      expect(refusalOf(Buffer.concat([before, it, it, after])), `${type} twice`).toBeInstanceOf(ImageError);
      for (const other of [0, -1, 1, 201, 203, 9999].filter((one) => one !== type)) {
        const bytes = changed((copy) => copy.writeInt16LE(other, offset));
        expect(refusalOf(bytes), `${type} as ${other}`).toBeInstanceOf(ImageError);
      }
    }
  });

  it('is refused with any length or parent but the right one', () => {
    for (const { offset, type } of recordsIn(good)) {
      const length = good.readInt16LE(offset + 2);
      for (const other of [-1, 0, 1, length - 1, length + 1, 0x7fff].filter((one) => one !== length)) {
        const bytes = changed((copy) => copy.writeInt16LE(other, offset + 2));
        expect(refusalOf(bytes), `${type} with length ${other}`).toBeInstanceOf(ImageError);
      }
      const bytes = changed((copy) => copy.writeUInt32LE(copy.readUInt32LE(offset + 4) + 1, offset + 4));
      expect(refusalOf(bytes), `${type} with another parent`).toBeInstanceOf(ImageError);
    }
  });

  const lies: readonly { what: string; type: number; at: number; value: bigint; bytes: 2 | 4 | 8; nth?: number }[] = [
    { what: 'magic number of HEAD', type: CR_HDR.HEAD, at: 0, value: 1n, bytes: 8 },
    { what: 'revision', type: CR_HDR.HEAD, at: 14, value: 3n, bytes: 2 },
    { what: 'time', type: CR_HDR.HEAD, at: 16, value: 2n ** 63n, bytes: 8 },
    { what: 'flags of HEAD', type: CR_HDR.HEAD, at: 24, value: 3n, bytes: 8 },
    { what: 'state of the task', type: CR_HDR.TASK, at: 0, value: 64n, bytes: 4 },
    { what: 'exit state', type: CR_HDR.TASK, at: 4, value: 16n, bytes: 4 },
    { what: 'exit code', type: CR_HDR.TASK, at: 8, value: 1n, bytes: 4 },
    { what: 'exit signal', type: CR_HDR.TASK, at: 12, value: 9n, bytes: 4 },
    { what: 'length of the name', type: CR_HDR.TASK, at: 16, value: 17n, bytes: 4 },
    { what: 'padding of TASK', type: CR_HDR.TASK, at: 20, value: 1n, bytes: 4 },
    { what: 'objref of MM', type: CR_HDR.MM, at: 0, value: 1n, bytes: 4 },
    { what: 'number of mappings', type: CR_HDR.MM, at: 4, value: 4n, bytes: 4 },
    { what: 'number of mappings beyond all', type: CR_HDR.MM, at: 4, value: 0xffff_ffffn, bytes: 4 },
    { what: 'end of the code', type: CR_HDR.MM, at: 16, value: 1n, bytes: 8 },
    { what: 'brk', type: CR_HDR.MM, at: 48, value: 0x1_0000_0000n, bytes: 8 },
    { what: 'type of a mapping', type: CR_HDR.VMA, at: 0, value: 3n, bytes: 4 },
    { what: 'padding of VMA', type: CR_HDR.VMA, at: 4, value: 1n, bytes: 4 },
    { what: 'start of a mapping', type: CR_HDR.VMA, at: 8, value: 0x0804_8001n, bytes: 8 },
    { what: 'end of a mapping', type: CR_HDR.VMA, at: 16, value: 0x0804_7000n, bytes: 8 },
    { what: 'end within the next mapping', type: CR_HDR.VMA, at: 16, value: 0x0804_a000n, bytes: 8 },
    { what: 'end in the kernel', type: CR_HDR.VMA, nth: 4, at: 16, value: 0xffff_f000n, bytes: 8 },
    { what: 'number of pages', type: CR_HDR.PGARR, nth: 1, at: 0, value: 3n, bytes: 8 },
    { what: 'number of pages beyond all', type: CR_HDR.PGARR, nth: 1, at: 0, value: 2n ** 63n, bytes: 8 },
    { what: 'address of a page', type: CR_HDR.PGARR, nth: 1, at: 8, value: 0x0804_8000n, bytes: 4 },
    { what: 'address within a page', type: CR_HDR.PGARR, nth: 1, at: 8, value: 0x0804_9004n, bytes: 4 },
    { what: 'size of LDT entries', type: CR_HDR.MM_CONTEXT, at: 0, value: 16n, bytes: 2 },
    { what: 'number of LDT entries', type: CR_HDR.MM_CONTEXT, at: 2, value: 0xffffn, bytes: 2 },
    { what: 'number of LDT entries beyond all', type: CR_HDR.MM_CONTEXT, at: 2, value: 8193n, bytes: 2 },
    { what: 'objref of FILES', type: CR_HDR.FILES, at: 0, value: 5n, bytes: 4 },
    { what: 'number of descriptors', type: CR_HDR.FILES, at: 4, value: 5n, bytes: 4 },
    { what: 'object of a descriptor', type: CR_HDR.FD_ENT, at: 0, value: 0n, bytes: 4 },
    { what: 'descriptor', type: CR_HDR.FD_ENT, nth: 1, at: 4, value: 0n, bytes: 4 },
    { what: 'negative descriptor', type: CR_HDR.FD_ENT, at: 4, value: 0xffff_ffffn, bytes: 4 },
    { what: 'close_on_exec', type: CR_HDR.FD_ENT, at: 8, value: 2n, bytes: 4 },
    { what: 'padding of FD_ENT', type: CR_HDR.FD_ENT, at: 12, value: 2n, bytes: 4 },
    { what: 'magic number of TAIL', type: CR_HDR.TAIL, at: 0, value: 0n, bytes: 8 },
  ];

  it.each(lies)('is refused with a lie about the $what', ({ type, at: field, value, bytes, nth = 0 }) => {
    const lie = changed((copy) => {
      const place = at(type, nth) + CR_HEADER_SIZE + field;
      if (bytes === 2) copy.writeUInt16LE(Number(value), place);
      else if (bytes === 4) copy.writeUInt32LE(Number(value), place);
      else copy.writeBigUInt64LE(value, place);
    });
    expect(refusalOf(lie).message).toMatch(/^[A-Z].*\.$/);
  });

  it('is refused with a page twice, or pages that do not ascend', () => {
    const place = at(
      CR_HDR.PGARR,
      recordsIn(good).filter(({ type, offset }) => type === CR_HDR.PGARR && offset < at(CR_HDR.VMA, 2)).length,
    );
    expect(good.readUInt32LE(place + 16)).toBe(HEAP);
    const twice = changed((copy) => copy.writeUInt32LE(HEAP, place + 20));
    expect(refusalOf(twice).message).toContain('does not belong there');
    const swapped = changed((copy) => {
      copy.writeUInt32LE(HEAP + 2 * PAGE, place + 16);
      copy.writeUInt32LE(HEAP, place + 20);
    });
    expect(refusalOf(swapped).message).toContain('does not belong there');
  });

  it('is refused with a name that is none', () => {
    const place = at(CR_HDR.FNAME) + CR_HEADER_SIZE;
    expect(refusalOf(changed((copy) => copy.writeUInt8(0, place + 3))).message).toContain('ends with a zero');
    expect(refusalOf(changed((copy) => copy.writeUInt8(0xff, place + 3))).message).toContain('not UTF-8');
    const comm = at(CR_HDR.STRING) + CR_HEADER_SIZE;
    expect(refusalOf(changed((copy) => copy.fill(0x41, comm, comm + 16))).message).toContain('no name of a task');
  });

  it('never makes the reader fail otherwise, whatever bytes are changed', () => {
    let seed = 1;
    const choose = (limit: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed % limit;
    };
    const metadata = recordsIn(good).map(({ offset }) => offset);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = changed((copy) => {
        const offset = metadata[choose(metadata.length)] ?? 0;
        copy[Math.min(copy.length - 1, offset + choose(40))] = choose(256);
      });
      try {
        readLinuxCr(sourceFrom(bytes, round % 2 === 0));
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
