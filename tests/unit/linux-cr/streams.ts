/** A small stream of 2008, written by our writer, and its records one by one. */
import { encodeBaseCpu, encodeMemoryContext, encodeThread } from '../../../src/arch/x86/records.ts';
import { type RegisterName, register, registerNames } from '../../../src/arch/x86/registers.ts';
import type { ByteSource } from '../../../src/image/byte-stream.ts';
import type { StreamToWrite } from '../../../src/linux-cr/from-image.ts';
import { CR_HDR, CR_HEADER_SIZE, CR_VMA, FMODE, PAGE } from '../../../src/linux-cr/layout.ts';
import { vdsoName } from '../../../src/linux-cr/names.ts';
import { kernelFlags, pageProtOf, privateFlags } from '../../../src/linux-cr/vm-flags.ts';
import { type PageSource, writeLinuxCr } from '../../../src/linux-cr/write-stream.ts';

export const PID = 4711;
export const DIGEST = 'ab'.repeat(32);
export const CODE = 0x0804_8000;
export const HEAP = 0x0900_0000;
const VVAR = 0xf7fb_a000;
const VDSO = 0xf7fc_0000;

const areas = Buffer.alloc(24);
areas.writeBigUInt64LE(0xf7df_f3fb_95c0_ffffn, 0);

const values: Partial<Record<RegisterName, bigint>> = {
  ...{ rip: 0x0804_8100n, rsp: 0x0900_1000n, cs: 0x23n, ss: 0x2bn, ds: 0x2bn, es: 0x2bn, gs: 0x63n },
  ...{ eflags: 0x246n, orig_rax: 0xffff_ffff_ffff_ffffn, rax: 7n },
};

function cpu(): Buffer {
  const registers = new BigUint64Array(registerNames.length);
  for (const [name, value] of Object.entries(values)) registers[register[name as RegisterName]] = value;
  const xstate = Buffer.alloc(576);
  xstate.writeUInt32LE(0x1f80, 24);
  xstate.writeBigUInt64LE(3n, 512);
  const debugRegisters = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n, 0n];
  return encodeBaseCpu({ registers, debugRegisters, xstate, layout: { xcr0: 3n, sizeBytes: 576, components: [] } });
}

const area = (start: number, pages: number, protection: number, words: readonly string[] = []) => ({
  start,
  end: start + pages * PAGE,
  pageProt: pageProtOf(protection),
  flags: privateFlags({ protection, words }),
});
const kernelArea = (start: number, pages: number, protection: number, name: string) => ({
  ...area(start, pages, protection),
  flags: kernelFlags(protection),
  type: CR_VMA.FILE,
  pageOffset: 0n,
  name,
  keepsZeroPages: false,
});
const fileArea = { type: CR_VMA.FILE, name: '/srv/program', keepsZeroPages: true };
const file = { type: 1, mode: FMODE.READ | FMODE.WRITE | FMODE.LSEEK | FMODE.PREAD, flags: 2, version: 0n };

export const sample: StreamToWrite = {
  head: {
    ...{ major: 6, minor: 18, patch: 5, rev: 2, time: 1_700_000_000, flags: 1n },
    ...{ release: '6.18.5', version: '#1 SMP', machine: 'x86_64' },
  },
  pid: PID,
  comm: 'wörker',
  fields: {
    ...{ startCode: CODE, endCode: CODE + 100, startData: CODE + PAGE, endData: CODE + PAGE + 10 },
    ...{ startBrk: HEAP, brk: HEAP + 100, startStack: HEAP + 16, argStart: HEAP + 80, argEnd: HEAP + 90 },
    ...{ envStart: HEAP + 90, envEnd: HEAP + 100 },
  },
  vmas: [
    { ...area(CODE, 1, 5), ...fileArea, pageOffset: 0n },
    { ...area(CODE + PAGE, 2, 3), ...fileArea, pageOffset: 1n },
    {
      ...area(HEAP, 3, 3, ['lo']),
      type: CR_VMA.ANON,
      pageOffset: BigInt(HEAP / PAGE),
      name: undefined,
      keepsZeroPages: false,
    },
    kernelArea(VVAR, 4, 1, '[vvar]'),
    kernelArea(VDSO, 2, 5, vdsoName(DIGEST)),
  ],
  memoryContext: encodeMemoryContext(Buffer.alloc(16)),
  descriptors: [
    { fd: 0, objref: 1, closeOnExec: 0, description: { ...file, position: 0n, name: '/dev/null' } },
    { fd: 1, objref: 2, closeOnExec: 0, description: { ...file, position: 6n, name: '/srv/log' } },
    { fd: 7, objref: 2, closeOnExec: 1, description: undefined },
    {
      ...{ fd: 9, objref: 3, closeOnExec: 0 },
      description: { type: 2, mode: FMODE.READ | 12, flags: 0o200000, position: 3n, version: 0n, name: '/srv' },
    },
  ],
  thread: encodeThread(areas),
  cpu: cpu(),
  rseq: undefined,
  auxv: new Uint8Array(0),
};

/** Where the stream has pages, and what is in them. */
export const pageAt = (address: number): Uint8Array => Buffer.alloc(PAGE, (address / PAGE) & 0xff);
const addresses = [CODE + PAGE, HEAP, HEAP + 2 * PAGE];

export const somePages: PageSource = {
  addressesIn: ({ start, end }) => Uint32Array.from(addresses.filter((address) => start <= address && address < end)),
  page: pageAt,
};

export function bytesOf(stream: StreamToWrite = sample, pages: PageSource = somePages): Buffer {
  const parts: Buffer[] = [];
  writeLinuxCr(stream, pages, (bytes) => parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts);
}

/** Reads from memory; `skips` as a file can. */
export function sourceFrom(bytes: Uint8Array, skips = true): ByteSource {
  let position = 0;
  const source = {
    read: (into: Uint8Array) => {
      // A few bytes at a time, as a pipe may.
      const part = bytes.subarray(position, position + Math.min(into.length, 1000));
      into.set(part);
      position += part.length;
      return part.length;
    },
  };
  if (!skips) return source;
  return {
    ...source,
    skip: (count) => {
      const skipped = Math.min(count, bytes.length - position);
      position += skipped;
      return skipped;
    },
  };
}

export interface Located {
  readonly type: number;
  readonly offset: number;
  /** What stands behind the payload: tables and pages. */
  readonly behind: number;
}

/** The records of a stream that is right, found without the reader. */
export function recordsIn(bytes: Buffer): Located[] {
  const found: Located[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const type = bytes.readInt16LE(offset);
    const payload = offset + CR_HEADER_SIZE;
    const behind =
      type === CR_HDR.PGARR
        ? Number(bytes.readBigUInt64LE(payload)) * (4 + PAGE)
        : type === CR_HDR.THREAD
          ? 24
          : type === CR_HDR.MM_CONTEXT
            ? bytes.readInt16LE(payload + 2) * 8
            : 0;
    found.push({ type, offset, behind });
    offset = payload + bytes.readInt16LE(offset + 2) + behind;
  }
  return found;
}
