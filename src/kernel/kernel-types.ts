/**
 * Layouts of the running kernel's own structs, from its type information: /sys/kernel/btf/vmlinux (BTF, CONFIG_DEBUG_INFO_BTF, Linux 5.4). No
 * layout is written down here, so none can be that of another kernel.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { refuseLack } from '../support/lacking.ts';
import { NativeMemory } from './native-memory.ts';

const MAGIC = 0xeb9f;
const WORD = 4;
const TYPE_SIZE = 12;
const MEMBER_SIZE = 12;

/** BTF_KIND_* of linux/btf.h. */
const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  functionPrototype: 13,
  variable: 14,
  section: 15,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

const KINDS = 32;
/** The first string of all is empty. */
const NAMELESS = 0;

/** Words of a type, beside those for each member. By number: the index of all types is made of nothing else. */
const WORDS = new Uint8Array(KINDS).fill(TYPE_SIZE / WORD);
for (const [kind, more] of [
  [KIND.int, 1],
  [KIND.array, 3],
  [KIND.variable, 1],
  [KIND.declarationTag, 1],
] as const) {
  WORDS[kind] = TYPE_SIZE / WORD + more;
}
const WORDS_PER_MEMBER = new Uint8Array(KINDS);
for (const [kind, words] of [
  [KIND.struct, 3],
  [KIND.union, 3],
  [KIND.enum, 2],
  [KIND.functionPrototype, 2],
  [KIND.section, 3],
  [KIND.enum64, 3],
] as const) {
  WORDS_PER_MEMBER[kind] = words;
}
const QUALIFIERS: readonly number[] = [KIND.typedef, KIND.volatile, KIND.const, KIND.restrict, KIND.typeTag];

/** Where a field begins in its struct; `bits` of a bit field, 0 of others. */
export interface FieldPlace {
  readonly bitOffset: number;
  readonly bits: number;
}

interface Type {
  readonly kind: number;
  readonly members: number;
  /** Of a struct, in bytes; of what refers to another type, that. */
  readonly sizeOrType: number;
  /** Member offsets have the width of bit fields in them. */
  readonly hasBitFields: boolean;
  /** Where the members begin. */
  readonly behind: number;
}

export class KernelTypes {
  readonly #types: DataView;
  readonly #words: Uint32Array;
  readonly #names: Buffer;
  /** Where each type begins, in words; type 0 is void. */
  readonly #starts: Uint32Array;
  readonly #structs = new Map<string, Type | undefined>();
  readonly #fields = new Map<string, FieldPlace | undefined>();

  /** Undefined where the kernel has no type information, or in another form. */
  static tryRead(path = '/sys/kernel/btf/vmlinux'): KernelTypes | undefined {
    let bytes: Buffer;
    try {
      bytes = bytesOf(path);
    } catch (error) {
      refuseLack(error, path);
      return undefined;
    }
    return bytes.length >= 24 && bytes.readUInt16LE(0) === MAGIC ? new KernelTypes(bytes) : undefined;
  }

  constructor(bytes: Buffer) {
    const header = bytes.readUInt32LE(4);
    const part = (offset: number, length: number): Buffer => bytes.subarray(header + offset, header + offset + length);
    const types = part(bytes.readUInt32LE(8), bytes.readUInt32LE(12));
    this.#types = new DataView(types.buffer, types.byteOffset, types.length);
    this.#words =
      types.byteOffset % WORD === 0
        ? new Uint32Array(types.buffer, types.byteOffset, types.length / WORD)
        : new Uint32Array(new Uint8Array(types).buffer);
    this.#names = part(bytes.readUInt32LE(16), bytes.readUInt32LE(20));
    this.#starts = this.#index();
  }

  #index(): Uint32Array {
    const words = this.#words;
    const starts = new Uint32Array(Math.floor(words.length / (TYPE_SIZE / WORD)) + 1);
    let count = 1;
    for (let at = 0; at + 1 < words.length; ) {
      starts[count++] = at;
      const info = words[at + 1] ?? 0;
      const kind = (info >>> 24) & 0x1f;
      at += (WORDS[kind] ?? 0) + (WORDS_PER_MEMBER[kind] ?? 0) * (info & 0xffff);
    }
    return starts.subarray(0, count);
  }

  #typeAt(at: number): Type {
    const info = this.#types.getUint32(at + 4, true);
    return {
      kind: (info >>> 24) & 0x1f,
      members: info & 0xffff,
      hasBitFields: info >>> 31 === 1,
      sizeOrType: this.#types.getUint32(at + 8, true),
      behind: at + TYPE_SIZE,
    };
  }

  /** In bytes; undefined if this kernel has no such struct. */
  sizeOf(struct: string): number | undefined {
    return this.#struct(struct)?.sizeOrType;
  }

  /** `path`: names of members, each of the one before; those of members without a name count as the struct's own. */
  fieldOf(struct: string, path: string): FieldPlace | undefined {
    const key = `${struct} ${path}`;
    if (!this.#fields.has(key)) this.#fields.set(key, this.#findField(struct, path));
    return this.#fields.get(key);
  }

  #findField(struct: string, path: string): FieldPlace | undefined {
    const [first = '', ...others] = path.split('.');
    const whole = this.#struct(struct);
    let found = whole === undefined ? undefined : this.#member(whole, first);
    for (const name of others) {
      if (found === undefined) return undefined;
      const within = this.#resolve(found.type);
      const inner = within === undefined ? undefined : this.#member(within, name);
      found = inner === undefined ? undefined : { ...inner, bitOffset: found.bitOffset + inner.bitOffset };
    }
    return found === undefined ? undefined : { bitOffset: found.bitOffset, bits: found.bits };
  }

  /** The number of a function of the kernel's; undefined if it names none so. */
  functionNumber(name: string): number | undefined {
    return this.#find(name, KIND.function);
  }

  #struct(name: string): Type | undefined {
    if (!this.#structs.has(name)) this.#structs.set(name, this.#typeOf(this.#find(name, KIND.struct)));
    return this.#structs.get(name);
  }

  #find(name: string, kind: number): number | undefined {
    const place = this.#names.indexOf(`\0${name}\0`, 0, 'latin1') + 1;
    if (place === 0) return undefined;
    const [words, starts] = [this.#words, this.#starts];
    for (let id = 1; id < starts.length; id++) {
      const at = starts[id] ?? 0;
      if (words[at] === place && ((words[at + 1] ?? 0) >>> 24) % KINDS === kind) return id;
    }
    return undefined;
  }

  #typeOf(id: number | undefined): Type | undefined {
    const at = id === undefined ? undefined : this.#starts[id];
    return at === undefined ? undefined : this.#typeAt(at * WORD);
  }

  /** Without typedefs and qualifiers. */
  #resolve(id: number): Type | undefined {
    for (let next = id; next > 0; ) {
      const at = this.#starts[next];
      if (at === undefined) return undefined;
      const type = this.#typeAt(at * WORD);
      if (!QUALIFIERS.includes(type.kind)) return type;
      next = type.sizeOrType;
    }
    return undefined;
  }

  #member(within: Type, name: string): (FieldPlace & { readonly type: number }) | undefined {
    if (within.kind !== KIND.struct && within.kind !== KIND.union) return undefined;
    for (let index = 0; index < within.members; index++) {
      const at = within.behind + index * MEMBER_SIZE;
      const raw = this.#types.getUint32(at + 8, true);
      const bitOffset = within.hasBitFields ? raw & 0xff_ffff : raw;
      const bits = within.hasBitFields ? raw >>> 24 : 0;
      const type = this.#types.getUint32(at + 4, true);
      const own = this.#types.getUint32(at, true);
      if (this.#isNamed(own, name)) return { bitOffset, bits, type };
      if (own !== NAMELESS) continue;
      const inner = this.#resolve(type);
      const found = inner === undefined ? undefined : this.#member(inner, name);
      if (found !== undefined) return { ...found, bitOffset: found.bitOffset + bitOffset };
    }
    return undefined;
  }

  #isNamed(offset: number, name: string): boolean {
    const names = this.#names;
    for (let at = 0; at < name.length; at++) if (names[offset + at] !== name.charCodeAt(at)) return false;
    return names[offset + name.length] === 0;
  }
}

/** Mapped where the kernel maps it (Linux 6.16): it gives 4 KiB by one read. Then it stays mapped. */
function bytesOf(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    return NativeMemory.tryMapPrivately(fd, fstatSync(fd).size)?.bytes ?? readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
