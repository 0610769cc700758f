/**
 * The records of "Kernel based checkpoint/restart", v8 (October 2008), byte for byte: docs/linux-cr.md has the tables. Numbers
 * are little-endian. A record is a header and a payload; tables and pages stand behind the payload of the record that counts
 * them, outside of its length.
 */
import { viewOf } from '../image/frame.ts';

export const CR_HDR = {
  HEAD: 1,
  STRING: 2,
  FNAME: 3,
  TASK: 101,
  THREAD: 102,
  CPU: 103,
  MM: 201,
  VMA: 202,
  PGARR: 203,
  MM_CONTEXT: 204,
  FILES: 301,
  FD_ENT: 302,
  FD_DATA: 303,
  TAIL: 5001,
} as const;

/** struct cr_hdr: s16 type, s16 len, u32 parent. */
export const CR_HEADER_SIZE = 8;

/** Bytes of the payloads whose size is fixed. */
export const CR_SIZE = {
  HEAD: 224,
  TASK: 24,
  MM: 96,
  VMA: 48,
  PGARR: 8,
  MM_CONTEXT: 8,
  FILES: 8,
  FD_ENT: 16,
  FD_DATA: 24,
  THREAD: 8,
  CPU: 784,
  TAIL: 8,
} as const;

export const CHECKPOINT_MAGIC_HEAD = 0x00fe_ed0c_c0a2_d200n;
export const CHECKPOINT_MAGIC_TAIL = 0x002d_2a0c_c0de_ef00n;
/** CR_VERSION of v8. */
export const CR_VERSION = 2;
/** The only flag of HEAD: the stream is a checkpoint. */
export const CR_CTX_CKPT = 1;

export const CR_VMA = { ANON: 1, FILE: 2 } as const;
export const CR_FD = { FILE: 1, DIR: 2, LINK: 3 } as const;

/** FMODE_* of linux/fs.h in 2008, as far as v8 kept them. */
export const FMODE = { READ: 1, WRITE: 2, LSEEK: 4, PREAD: 8 } as const;

export const TASK_COMM_LEN = 16;
/** __NEW_UTS_LEN of linux/utsname.h. */
const UTS_LENGTH = 64;
export const PATH_MAX = 4096;
export const PAGE = 4096;
/** An address on x86-32. */
export const ADDRESS_SIZE = 4;
/** Descriptors of the thread areas, which follow THREAD. */
export const TLS_ARRAY_SIZE = 24;

/** The kernel's flags of a mapping in 2008, include/linux/mm.h. */
export const VM = {
  READ: 0x1,
  WRITE: 0x2,
  EXEC: 0x4,
  SHARED: 0x8,
  MAYREAD: 0x10,
  MAYWRITE: 0x20,
  MAYEXEC: 0x40,
  MAYSHARE: 0x80,
  GROWSDOWN: 0x100,
  GROWSUP: 0x200,
  PFNMAP: 0x400,
  DENYWRITE: 0x800,
  EXECUTABLE: 0x1000,
  LOCKED: 0x2000,
  IO: 0x4000,
  SEQ_READ: 0x8000,
  RAND_READ: 0x1_0000,
  DONTCOPY: 0x2_0000,
  DONTEXPAND: 0x4_0000,
  RESERVED: 0x8_0000,
  ACCOUNT: 0x10_0000,
  NORESERVE: 0x20_0000,
  HUGETLB: 0x40_0000,
  NONLINEAR: 0x80_0000,
  MAPPED_COPY: 0x100_0000,
  INSERTPAGE: 0x200_0000,
  ALWAYSDUMP: 0x400_0000,
} as const;

export interface CrHead {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly rev: number;
  /** Seconds since 1970. */
  readonly time: number;
  readonly flags: bigint;
  readonly release: string;
  readonly version: string;
  readonly machine: string;
}

export interface CrTask {
  readonly state: number;
  readonly exitState: number;
  readonly exitCode: number;
  readonly exitSignal: number;
  readonly commLength: number;
}

/** The order of the fields of MM behind objref and map_count. */
export const mmFields = [
  'startCode',
  'endCode',
  'startData',
  'endData',
  'startBrk',
  'brk',
  'startStack',
  'argStart',
  'argEnd',
  'envStart',
  'envEnd',
] as const;
export type CrMmFields = Readonly<Record<(typeof mmFields)[number], number>>;

export interface CrMm {
  readonly objref: number;
  readonly mapCount: number;
  readonly fields: CrMmFields;
}

export interface CrVma {
  readonly type: number;
  readonly start: number;
  readonly end: number;
  readonly pageProt: bigint;
  readonly flags: bigint;
  readonly pageOffset: bigint;
}

export interface CrFdEntry {
  readonly objref: number;
  readonly fd: number;
  readonly closeOnExec: number;
}

export interface CrFdData {
  readonly type: number;
  readonly mode: number;
  readonly flags: number;
  readonly position: bigint;
  readonly version: bigint;
}

/** True for the first bytes of a stream of this format: the header of its HEAD, and the magic number. */
export function isLinuxCr(start: Uint8Array): boolean {
  if (start.length < CR_HEADER_SIZE + 8) return false;
  const view = viewOf(start);
  return view.getInt16(0, true) === CR_HDR.HEAD && view.getBigUint64(CR_HEADER_SIZE, true) === CHECKPOINT_MAGIC_HEAD;
}
/** How many bytes {@link isLinuxCr} looks at. */
export const CR_START_SIZE = CR_HEADER_SIZE + 8;

export function encodeRecord(type: number, parent: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(CR_HEADER_SIZE + payload.length);
  bytes.writeInt16LE(type, 0);
  bytes.writeInt16LE(payload.length, 2);
  bytes.writeUInt32LE(parent, 4);
  bytes.set(payload, CR_HEADER_SIZE);
  return bytes;
}

export function encodeHead(head: CrHead): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.HEAD);
  bytes.writeBigUInt64LE(CHECKPOINT_MAGIC_HEAD, 0);
  bytes.writeUInt16LE(head.major, 8);
  bytes.writeUInt16LE(head.minor, 10);
  bytes.writeUInt16LE(head.patch, 12);
  bytes.writeUInt16LE(head.rev, 14);
  bytes.writeBigUInt64LE(BigInt(head.time), 16);
  bytes.writeBigUInt64LE(head.flags, 24);
  [head.release, head.version, head.machine].forEach((text, index) => {
    bytes.write(text, 32 + index * UTS_LENGTH, UTS_LENGTH, 'latin1');
  });
  return bytes;
}

export function decodeHead(bytes: Buffer): CrHead & { readonly magic: bigint } {
  const text = (index: number): string =>
    untilNul(bytes.subarray(32 + index * UTS_LENGTH, 32 + (index + 1) * UTS_LENGTH));
  return {
    magic: bytes.readBigUInt64LE(0),
    major: bytes.readUInt16LE(8),
    minor: bytes.readUInt16LE(10),
    patch: bytes.readUInt16LE(12),
    rev: bytes.readUInt16LE(14),
    time: Number(bytes.readBigUInt64LE(16)),
    flags: bytes.readBigUInt64LE(24),
    release: text(0),
    version: text(1),
    machine: text(2),
  };
}

/** Of a fixed field, which need not end with a zero. */
function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end === -1 ? bytes.length : end).toString('latin1');
}

export function encodeTail(): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.TAIL);
  bytes.writeBigUInt64LE(CHECKPOINT_MAGIC_TAIL, 0);
  return bytes;
}

export function encodeTask(task: CrTask): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.TASK);
  [task.state, task.exitState, task.exitCode, task.exitSignal].forEach((value, index) => {
    bytes.writeUInt32LE(value, index * 4);
  });
  bytes.writeInt32LE(task.commLength, 16);
  return bytes;
}

export function decodeTask(bytes: Buffer): CrTask {
  return {
    state: bytes.readUInt32LE(0),
    exitState: bytes.readUInt32LE(4),
    exitCode: bytes.readUInt32LE(8),
    exitSignal: bytes.readUInt32LE(12),
    commLength: bytes.readInt32LE(16),
  };
}

export function encodeMm({ objref, mapCount, fields }: CrMm): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.MM);
  bytes.writeUInt32LE(objref, 0);
  bytes.writeUInt32LE(mapCount, 4);
  mmFields.forEach((name, index) => {
    bytes.writeBigUInt64LE(BigInt(fields[name]), 8 + index * 8);
  });
  return bytes;
}

/** Addresses beyond 2^53 lose their last bits; all beyond 4 GiB are refused. */
export function decodeMm(bytes: Buffer): CrMm {
  const fields = mmFields.map((name, index) => [name, Number(bytes.readBigUInt64LE(8 + index * 8))] as const);
  return {
    objref: bytes.readUInt32LE(0),
    mapCount: bytes.readUInt32LE(4),
    fields: Object.fromEntries(fields) as CrMmFields,
  };
}

export function encodeVma(vma: CrVma): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.VMA);
  bytes.writeUInt32LE(vma.type, 0);
  bytes.writeBigUInt64LE(BigInt(vma.start), 8);
  bytes.writeBigUInt64LE(BigInt(vma.end), 16);
  bytes.writeBigUInt64LE(vma.pageProt, 24);
  bytes.writeBigUInt64LE(vma.flags, 32);
  bytes.writeBigUInt64LE(vma.pageOffset, 40);
  return bytes;
}

export function decodeVma(bytes: Buffer): CrVma {
  return {
    type: bytes.readUInt32LE(0),
    start: Number(bytes.readBigUInt64LE(8)),
    end: Number(bytes.readBigUInt64LE(16)),
    pageProt: bytes.readBigUInt64LE(24),
    flags: bytes.readBigUInt64LE(32),
    pageOffset: bytes.readBigUInt64LE(40),
  };
}

export function encodePageCount(pages: number): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.PGARR);
  bytes.writeBigUInt64LE(BigInt(pages), 0);
  return bytes;
}

export function encodeFiles(objref: number, count: number): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.FILES);
  bytes.writeUInt32LE(objref, 0);
  bytes.writeUInt32LE(count, 4);
  return bytes;
}

export function encodeFdEntry({ objref, fd, closeOnExec }: CrFdEntry): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.FD_ENT);
  bytes.writeUInt32LE(objref, 0);
  bytes.writeInt32LE(fd, 4);
  bytes.writeUInt32LE(closeOnExec, 8);
  return bytes;
}

export function decodeFdEntry(bytes: Buffer): CrFdEntry {
  return { objref: bytes.readUInt32LE(0), fd: bytes.readInt32LE(4), closeOnExec: bytes.readUInt32LE(8) };
}

export function encodeFdData({ type, mode, flags, position, version }: CrFdData): Buffer {
  const bytes = Buffer.alloc(CR_SIZE.FD_DATA);
  bytes.writeUInt16LE(type, 0);
  bytes.writeUInt16LE(mode, 2);
  bytes.writeUInt32LE(flags, 4);
  bytes.writeBigUInt64LE(position, 8);
  bytes.writeBigUInt64LE(version, 16);
  return bytes;
}

export function decodeFdData(bytes: Buffer): CrFdData {
  return {
    type: bytes.readUInt16LE(0),
    mode: bytes.readUInt16LE(2),
    flags: bytes.readUInt32LE(4),
    position: bytes.readBigUInt64LE(8),
    version: bytes.readBigUInt64LE(16),
  };
}
