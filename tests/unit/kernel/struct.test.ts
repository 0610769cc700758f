import { describe, expect, it } from 'vitest';
import { bytes, structOf } from '../../../src/kernel/struct.ts';

const everything = structOf({
  size: 48,
  fields: {
    flag: [0, 'u8'],
    small: [1, 'i8'],
    port: [2, 'u16'],
    delta: [4, 'i16'],
    mode: [8, 'u32'],
    fd: [12, 'i32'],
    mask: [16, 'u64'],
    seconds: [24, 'i64'],
    start: [32, 'addr'],
    name: [40, bytes(4)],
  },
});

const values = {
  flag: 255,
  small: -128,
  port: 0xbeef,
  delta: -2,
  mode: 0xffff_ffff,
  fd: -100,
  mask: 0xffff_ffff_ffff_ffffn,
  seconds: -1n,
  start: 0x7fff_ffff_f000,
  name: Uint8Array.of(1, 2, 3, 4),
};

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

describe('a struct', () => {
  it('reads back what was written, at any base', () => {
    const view = new DataView(new ArrayBuffer(64));
    everything.write(view, 16, values);
    expect(everything.read(view, 16)).toEqual(values);
  });

  it('is little-endian and leaves padding zero when encoded', () => {
    const encoded = everything.encode({ port: 0x1234, start: 0x1122_3344_5566 });
    expect(encoded.length).toBe(48);
    expect(encoded.toString('hex')).toBe(`${'00'.repeat(2)}3412${'00'.repeat(28)}665544332211${'00'.repeat(10)}`);
  });

  it('writes only the fields that are given', () => {
    const view = viewOf(everything.encode(values));
    everything.write(view, 0, { mode: 7 });
    expect(everything.read(view)).toEqual({ ...values, mode: 7 });
  });

  it('pads a short run of bytes with zeros and hands out a copy', () => {
    const view = viewOf(everything.encode(values));
    everything.write(view, 0, { name: Uint8Array.of(9) });
    const read = everything.read(view);
    expect([...read.name]).toEqual([9, 0, 0, 0]);
    view.setUint8(40, 5);
    expect(read.name[0]).toBe(9);
  });

  it.each([
    ['flag', 256],
    ['flag', -1],
    ['small', 128],
    ['port', 65_536],
    ['mode', 2 ** 32],
    ['fd', 2 ** 31],
    ['start', -1],
  ] as const)('refuses a value that %s cannot hold: %d', (field, value) => {
    expect(() => everything.encode({ [field]: value })).toThrow(`field ${field} cannot hold ${value}`);
  });

  it('refuses too many bytes, and bytes beyond the view', () => {
    expect(() => everything.encode({ name: new Uint8Array(5) })).toThrow('room for 4 bytes');
    const short = structOf({ size: 8, fields: { tail: [0, bytes(8)] } });
    expect(() => short.read(new DataView(new ArrayBuffer(4)))).toThrow(RangeError);
  });

  it('refuses an address above 2^53 rather than round it', () => {
    const view = viewOf(everything.encode({}));
    view.setBigUint64(32, 2n ** 53n, true);
    expect(() => everything.read(view)).toThrow('0x20000000000000 is not an address');
  });

  it('refuses a layout whose field ends after the struct, and a name that is no field', () => {
    expect(() => structOf({ size: 4, fields: { late: [2, 'u32'] } })).toThrow('field late ends after its struct');
    expect(() => everything.encode({ nothing: 1 } as never)).toThrow('no field nothing');
  });
});
