/**
 * Layouts of C structs, and reading and writing them in little-endian byte order. A layout is data, so that the abi tests
 * can compare it with the headers; {@link structOf} makes the reader and writer with the types that follow from it.
 */

/** A run of bytes that is not interpreted: an array, padding, a nested struct. */
export interface BytesType {
  readonly bytes: number;
}

/**
 * `u64` and `i64` are bigint. `addr` is an u64 that is a number here: an address, or a length or offset that stays below
 * 2^53; a larger one is refused.
 */
export type FieldType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64' | 'i64' | 'addr' | BytesType;

export interface StructLayout {
  readonly size: number;
  /** Name to offset and type. */
  readonly fields: Readonly<Record<string, readonly [offset: number, type: FieldType]>>;
}

type ValueOf<Type extends FieldType> = Type extends 'u64' | 'i64'
  ? bigint
  : Type extends BytesType
    ? Uint8Array
    : number;

/** The values of a struct, by field name. */
export type StructValues<Layout extends StructLayout> = {
  -readonly [Name in keyof Layout['fields']]: ValueOf<Layout['fields'][Name][1]>;
};

export interface Struct<Layout extends StructLayout> {
  readonly size: number;
  read(view: DataView, base?: number): StructValues<Layout>;
  /** Writes the fields that are given and leaves every other byte alone. */
  write(view: DataView, base: number, values: Partial<StructValues<Layout>>): void;
  /** A buffer of the struct's size, zero wherever no value is given. */
  encode(values: Partial<StructValues<Layout>>): Buffer;
}

export function bytes<const Length extends number>(length: Length): { readonly bytes: Length } {
  return { bytes: length };
}

const SIZES = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8, addr: 8 } as const;

export function sizeOfType(type: FieldType): number {
  return typeof type === 'object' ? type.bytes : SIZES[type];
}

type FieldValue = number | bigint | Uint8Array;

export function structOf<const Layout extends StructLayout>(layout: Layout): Struct<Layout> {
  const fields = Object.entries(layout.fields);
  for (const [name, [offset, type]] of fields) {
    if (offset + sizeOfType(type) > layout.size) throw new RangeError(`field ${name} ends after its struct`);
  }
  const struct: Struct<Layout> = {
    size: layout.size,
    read(view, base = 0) {
      const values: Record<string, FieldValue> = {};
      for (const [name, [offset, type]] of fields) values[name] = readField(view, base + offset, type);
      return values as StructValues<Layout>;
    },
    write(view, base, values) {
      for (const name of Object.keys(values)) {
        const field = layout.fields[name];
        const value = (values as Record<string, FieldValue | undefined>)[name];
        if (field === undefined) throw new RangeError(`the struct has no field ${name}`);
        if (value !== undefined) writeField(view, base + field[0], name, field[1], value);
      }
    },
    encode(values) {
      const buffer = Buffer.alloc(layout.size);
      struct.write(new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0, values);
      return buffer;
    },
  };
  return struct;
}

function readField(view: DataView, offset: number, type: FieldType): FieldValue {
  if (typeof type === 'object') return bytesAt(view, offset, type.bytes).slice();
  switch (type) {
    case 'u8':
      return view.getUint8(offset);
    case 'i8':
      return view.getInt8(offset);
    case 'u16':
      return view.getUint16(offset, true);
    case 'i16':
      return view.getInt16(offset, true);
    case 'u32':
      return view.getUint32(offset, true);
    case 'i32':
      return view.getInt32(offset, true);
    case 'u64':
      return view.getBigUint64(offset, true);
    case 'i64':
      return view.getBigInt64(offset, true);
    case 'addr':
      return asExactNumber(view.getBigUint64(offset, true));
  }
}

function writeField(view: DataView, offset: number, name: string, type: FieldType, value: FieldValue): void {
  if (typeof type === 'object') {
    if (!(value instanceof Uint8Array)) throw new TypeError(`field ${name} takes bytes`);
    if (value.length > type.bytes)
      throw new RangeError(`field ${name} has room for ${type.bytes} bytes, not ${value.length}`);
    bytesAt(view, offset, type.bytes).fill(0).set(value);
    return;
  }
  if (value instanceof Uint8Array) throw new TypeError(`field ${name} takes a number`);
  writeInteger(view, offset, name, type, BigInt(value));
}

function writeInteger(view: DataView, offset: number, name: string, type: keyof typeof SIZES, value: bigint): void {
  const bits = SIZES[type] * 8;
  const fits = type.startsWith('i') ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  if (fits !== value) throw new RangeError(`field ${name} cannot hold ${value}`);
  const unsigned = BigInt.asUintN(bits, value);
  if (bits === 64) view.setBigUint64(offset, unsigned, true);
  else if (bits === 32) view.setUint32(offset, Number(unsigned), true);
  else if (bits === 16) view.setUint16(offset, Number(unsigned), true);
  else view.setUint8(offset, Number(unsigned));
}

function bytesAt(view: DataView, offset: number, length: number): Uint8Array {
  if (offset + length > view.byteLength) throw new RangeError('the bytes end after the view');
  return new Uint8Array(view.buffer, view.byteOffset + offset, length);
}

function asExactNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new RangeError(`0x${value.toString(16)} is not an address of user space`);
  return Number(value);
}
