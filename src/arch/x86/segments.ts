/**
 * Segment descriptors of 8 bytes, as the processor has them in its tables (Intel SDM volume 3, 3.4.5), and struct user_desc
 * of asm/ldt.h, in which set_thread_area(2) and modify_ldt(2) take them. Those of an image are checked before the kernel
 * sees them: only data and code of user programs.
 */

export const DESCRIPTOR_SIZE = 8;
export const USER_DESC_SIZE = 16;
/** LDT_ENTRIES of asm/ldt.h. */
export const MAX_LOCAL_DESCRIPTORS = 8192;
/** GDT_ENTRY_TLS_MIN of asm/segment.h on x86-64, and how many slots there are. */
export const FIRST_TLS_ENTRY = 12;
export const TLS_SLOTS = 3;

/** The tables that selectors of a thread can name. */
export interface Segments {
  /** Three descriptors: the slots for thread-local storage in the GDT. */
  readonly threadAreas: Uint8Array;
  /** The LDT as far as it is in use. */
  readonly localDescriptors: Uint8Array;
}

export const noSegments: Segments = {
  threadAreas: new Uint8Array(TLS_SLOTS * DESCRIPTOR_SIZE),
  localDescriptors: new Uint8Array(0),
};

/** Bits of a descriptor's upper half. */
const ACCESSED = 1 << 8;
const WRITABLE_OR_READABLE = 1 << 9;
const CONTENTS_SHIFT = 10;
const NO_SYSTEM_SEGMENT = 1 << 12;
const USER_PRIVILEGE = 3 << 13;
const PRESENT = 1 << 15;
const AVAILABLE = 1 << 20;
const LONG_CODE = 1 << 21;
const IS_32BIT = 1 << 22;
const LIMIT_IN_PAGES = 1 << 23;

/** Values of `contents`: MODIFY_LDT_CONTENTS_* of asm/ldt.h. */
const STACK = 1;
const CODE = 2;
const CONFORMING_CODE = 3;

/** Bits of the flags of struct user_desc. */
const DESC_32BIT = 1 << 0;
const DESC_CONTENTS_SHIFT = 1;
const DESC_READ_EXEC_ONLY = 1 << 3;
const DESC_LIMIT_IN_PAGES = 1 << 4;
const DESC_NOT_PRESENT = 1 << 5;
const DESC_USEABLE = 1 << 6;

const low = (descriptor: Buffer): number => descriptor.readUInt32LE(0);
const high = (descriptor: Buffer): number => descriptor.readUInt32LE(4);
const contentsOf = (descriptor: Buffer): number => (high(descriptor) >>> CONTENTS_SHIFT) & 3;
const isEmpty = (descriptor: Buffer): boolean => low(descriptor) === 0 && high(descriptor) === 0;
const baseOf = (descriptor: Buffer): number =>
  ((low(descriptor) >>> 16) | ((high(descriptor) & 0xff) << 16) | (high(descriptor) & 0xff000000)) >>> 0;
const limitOf = (descriptor: Buffer): number => (low(descriptor) & 0xffff) | (high(descriptor) & 0xf0000);

/** Descriptor `index` of a table; undefined outside of it. */
function at(table: Uint8Array, index: number): Buffer | undefined {
  const start = index * DESCRIPTOR_SIZE;
  if (start < 0 || start + DESCRIPTOR_SIZE > table.length) return undefined;
  return Buffer.from(table.buffer, table.byteOffset + start, DESCRIPTOR_SIZE);
}

const descriptorsOf = (table: Uint8Array): Buffer[] =>
  Array.from({ length: table.length / DESCRIPTOR_SIZE }, (_, index) => at(table, index) as Buffer);

/** The table without empty descriptors at its end. */
export function trimmedTable(table: Buffer): Buffer {
  let entries = Math.floor(table.length / DESCRIPTOR_SIZE);
  while (entries > 0 && isEmpty(at(table, entries - 1) as Buffer)) entries--;
  return table.subarray(0, entries * DESCRIPTOR_SIZE);
}

/** struct user_desc for each descriptor of a table that is not empty. `first` is the number of the table's first entry. */
export function userDescriptors(table: Uint8Array, first = 0): { entry: number; bytes: Buffer }[] {
  return descriptorsOf(table).flatMap((descriptor, index) =>
    isEmpty(descriptor) ? [] : [{ entry: first + index, bytes: userDescriptor(descriptor, first + index) }],
  );
}

function userDescriptor(descriptor: Buffer, entry: number): Buffer {
  const bits = high(descriptor);
  const flags =
    (bits & IS_32BIT ? DESC_32BIT : 0) |
    (contentsOf(descriptor) << DESC_CONTENTS_SHIFT) |
    (bits & WRITABLE_OR_READABLE ? 0 : DESC_READ_EXEC_ONLY) |
    (bits & LIMIT_IN_PAGES ? DESC_LIMIT_IN_PAGES : 0) |
    (bits & PRESENT ? 0 : DESC_NOT_PRESENT) |
    (bits & AVAILABLE ? DESC_USEABLE : 0);
  const bytes = Buffer.alloc(USER_DESC_SIZE);
  bytes.writeUInt32LE(entry, 0);
  bytes.writeUInt32LE(baseOf(descriptor), 4);
  bytes.writeUInt32LE(limitOf(descriptor), 8);
  bytes.writeUInt32LE(flags, 12);
  return bytes;
}

/**
 * The descriptors of the three thread areas, from three struct user_desc as PTRACE_GET_THREAD_AREA gives them. It says of an
 * empty slot that it is not present, which no other slot can be (tls_desc_okay() in arch/x86/kernel/tls.c).
 */
export function threadAreaTable(areas: Buffer): Buffer {
  const table = Buffer.alloc(TLS_SLOTS * DESCRIPTOR_SIZE);
  for (let slot = 0; slot < TLS_SLOTS; slot++) {
    const area = areas.subarray(slot * USER_DESC_SIZE, (slot + 1) * USER_DESC_SIZE);
    if ((area.readUInt32LE(12) & DESC_NOT_PRESENT) === 0) packed(area).copy(table, slot * DESCRIPTOR_SIZE);
  }
  return table;
}

/** As fill_ldt() of the kernel (asm/desc.h): accessed, and of user privilege. */
function packed(area: Buffer): Buffer {
  const base = area.readUInt32LE(4);
  const limit = area.readUInt32LE(8);
  const flags = area.readUInt32LE(12);
  const bits =
    ((base >>> 16) & 0xff) |
    (base & 0xff000000) |
    (limit & 0xf0000) |
    ACCESSED |
    (flags & DESC_READ_EXEC_ONLY ? 0 : WRITABLE_OR_READABLE) |
    (((flags >>> DESC_CONTENTS_SHIFT) & 3) << CONTENTS_SHIFT) |
    NO_SYSTEM_SEGMENT |
    USER_PRIVILEGE |
    (flags & DESC_NOT_PRESENT ? 0 : PRESENT) |
    (flags & DESC_USEABLE ? AVAILABLE : 0) |
    (flags & DESC_32BIT ? IS_32BIT : 0) |
    (flags & DESC_LIMIT_IN_PAGES ? LIMIT_IN_PAGES : 0);
  const descriptor = Buffer.alloc(DESCRIPTOR_SIZE);
  descriptor.writeUInt32LE((((base & 0xffff) << 16) | (limit & 0xffff)) >>> 0, 0);
  descriptor.writeUInt32LE(bits >>> 0, 4);
  return descriptor;
}

/** One clause for each descriptor that the kernel would not give to a program, or would give it otherwise than it is here. */
export function descriptorFaults({ threadAreas, localDescriptors }: Segments): string[] {
  return [
    ...descriptorsOf(threadAreas).flatMap((one, index) => named(`thread area ${index}`, threadAreaFault(one))),
    ...descriptorsOf(localDescriptors).flatMap((one, index) => named(`LDT entry ${index}`, localFault(one))),
  ];
}

const named = (name: string, fault: string | undefined): string[] => (fault === undefined ? [] : [`${name} ${fault}`]);

function commonFault(descriptor: Buffer): string | undefined {
  const bits = high(descriptor);
  if ((bits & NO_SYSTEM_SEGMENT) === 0) return 'is a system segment';
  if ((bits & USER_PRIVILEGE) !== USER_PRIVILEGE) return 'is a segment of the kernel';
  return bits & LONG_CODE ? 'is 64-bit code' : undefined;
}

/** tls_desc_okay() in arch/x86/kernel/tls.c. */
function threadAreaFault(descriptor: Buffer): string | undefined {
  if (isEmpty(descriptor)) return undefined;
  const bits = high(descriptor);
  const fault = commonFault(descriptor);
  if (fault !== undefined) return fault;
  if (contentsOf(descriptor) > STACK) return 'is code';
  if ((bits & IS_32BIT) === 0) return 'is a 16-bit segment';
  return bits & PRESENT ? undefined : 'is not present';
}

/** write_ldt() in arch/x86/kernel/ldt.c. */
function localFault(descriptor: Buffer): string | undefined {
  if (isEmpty(descriptor)) return undefined;
  const fault = commonFault(descriptor);
  if (fault !== undefined) return fault;
  if (contentsOf(descriptor) === CONFORMING_CODE && (high(descriptor) & PRESENT) !== 0) return 'is conforming code';
  return baseOf(descriptor) === 0 && limitOf(descriptor) === 0 ? 'covers nothing' : undefined;
}

export const USER32_CS = 0x23;
export const USER_DS = 0x2b;
export const USER64_CS = 0x33;
/** In it the vDSO finds the number of the CPU: data that can only be read (GDT_ENTRY_CPUNODE of asm/segment.h). */
const CPU_NUMBER = 0x7b;
const RPL = 3;
const IN_LOCAL_TABLE = 4;

/** What the selector names: undefined if nothing that is present, for the kernel's own segments a descriptor of their kind. */
function segmentNamed(selector: number, { threadAreas, localDescriptors }: Segments): Buffer | undefined {
  if ((selector & RPL) !== RPL || selector > 0xffff) return undefined;
  const index = selector >> 3;
  const found =
    (selector & IN_LOCAL_TABLE) !== 0 ? at(localDescriptors, index) : at(threadAreas, index - FIRST_TLS_ENTRY);
  return found === undefined || (high(found) & PRESENT) === 0 ? undefined : found;
}

/** Where the segment begins that the selector names; 0 for none, and for those of the kernel. */
export function segmentBase(selector: bigint, segments: Segments): bigint {
  const found = selector > 0xffffn ? undefined : segmentNamed(Number(selector), segments);
  return found === undefined ? 0n : BigInt(baseOf(found));
}

/** Code that a program can run. */
export function isCodeSelector(selector: number, segments: Segments): boolean {
  if (selector === USER32_CS || selector === USER64_CS) return true;
  const found = segmentNamed(selector, segments);
  return found !== undefined && contentsOf(found) === CODE;
}

/** What can be in ss: data that can be written. */
export function isStackSelector(selector: number, segments: Segments): boolean {
  if (selector === USER_DS) return true;
  const found = segmentNamed(selector, segments);
  return found !== undefined && contentsOf(found) <= STACK && (high(found) & WRITABLE_OR_READABLE) !== 0;
}

/** What can be in ds, es, fs and gs: nothing, data, or code that can be read. */
export function isDataSelector(selector: number, segments: Segments): boolean {
  if (selector === 0 || selector === RPL) return true;
  if ([USER32_CS, USER_DS, USER64_CS, CPU_NUMBER].includes(selector)) return true;
  const found = segmentNamed(selector, segments);
  return found !== undefined && (contentsOf(found) <= STACK || (high(found) & WRITABLE_OR_READABLE) !== 0);
}
