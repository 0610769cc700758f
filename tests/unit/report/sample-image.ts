/** A small image of a process with two threads, as a save would write it. */
import { encodeCpu, encodeThread } from '../../../src/arch/x86/records.ts';
import { type RegisterName, register, registerNames } from '../../../src/arch/x86/registers.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import type { ImageWriter } from '../../../src/image/writer.ts';
import { pageData, writeImage } from '../image/streams.ts';

const MEMORY = 10;
const FILES = 11;
const LIBRARY = 12;
const LOG = 13;
const UNNAMED = 14;
const XSTATE_SIZE = 832;

export function registerFile(values: Partial<Record<RegisterName, bigint>>): BigUint64Array {
  const file = new BigUint64Array(registerNames.length);
  for (const [name, value] of Object.entries(values)) file[register[name as RegisterName]] = BigInt.asUintN(64, value);
  return file;
}

const running = { rip: 0x401000n, rsp: 0x7ffd_0000n, cs: 0x33n, ss: 0x2bn, eflags: 0x246n, orig_rax: -1n };
const sleeping = {
  ...running,
  orig_rax: 230n,
  rax: -516n,
  rdi: 1n,
  rsi: 0n,
  rdx: 0x7ffd_1000n,
  r10: 0x7ffd_2000n,
};

function cpuRecord(values: Partial<Record<RegisterName, bigint>>, xstateUsed: bigint): Buffer {
  const xstate = Buffer.alloc(XSTATE_SIZE);
  xstate.writeBigUInt64LE(xstateUsed, 512);
  const components = [{ index: 2, offset: 576, sizeBytes: 256 }];
  return encodeCpu({
    registers: registerFile(values),
    debugRegisters: [0n, 0n, 0n, 0n, 0n, 0n, 0xffff0ff0n, 0x400n],
    xstate,
    layout: { xcr0: 7n, sizeBytes: XSTATE_SIZE, components },
  });
}

const mappedFile = (path: string) => ({
  file: { path, device: 1n, inode: 2n, sizeBytes: 8192n, modifiedNs: 1_790_000_000_000_000_000n },
  buildId: 'ab12',
  writable: false,
});

const aspects = {
  credentials: {
    uid: { real: 1000, effective: 1000, saved: 1000, filesystem: 1000 },
    gid: { real: 100, effective: 100, saved: 100, filesystem: 100 },
    groups: [100, 27],
    capInheritable: 0n,
    capPermitted: 0n,
    capEffective: 0n,
    capBounding: 0x1ff_ffff_ffffn,
    capAmbient: 0n,
    securebits: 0,
  },
  fileSystemContext: { workingDirectory: '/home/\u001b[31mred', umask: 0o27 },
  limits: {
    RLIMIT_NOFILE: { soft: 1024n, hard: 4096n },
    RLIMIT_CPU: { soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n },
  },
  memoryMapFields: { executable: LIBRARY, startCode: 1 },
  signalActions: [
    { signal: 2, handler: 1n, flags: 0x04000000n, restorer: 0n, mask: 0n },
    { signal: 10, handler: 0x401234n, flags: 0x14000000n, restorer: 0x402000n, mask: 2n },
  ],
  fromTheFuture: { words: ['a', 'b'], nothing: [], deep: { bytes: Buffer.from('00ff', 'hex') } },
};

const threadAspects = (comm: string) => ({ name: { comm }, ownPendingSignals: [siginfo(15)] });

function siginfo(signal: number): Buffer {
  const info = Buffer.alloc(128);
  info.writeInt32LE(signal, 0);
  return info;
}

const mappings = [
  mapping(0x40_0000, 0x40_2000, 5, 'private-file', { file: LIBRARY }, false),
  mapping(0x50_0000, 0x50_4000, 3, 'anonymous', { name: 'arena' }, true),
  mapping(0x50_4000, 0x50_6000, 3, 'anonymous', { name: '' }, true, ['gd', 'zz']),
];

function mapping(
  start: number,
  end: number,
  protection: number,
  kind: string,
  state: unknown,
  hasPages: boolean,
  flags: readonly string[] = [],
) {
  return { start, end, protection, offset: kind === 'anonymous' ? 0 : 4096, flags: [...flags], kind, state, hasPages };
}

export function writeProcess(writer: ImageWriter, level?: number): void {
  writer.record(RECORD.TASK, 4242, {
    pid: 4242,
    comm: 'worker',
    threads: [4242, 4243],
    memory: MEMORY,
    files: FILES,
    vdso: { sha256: 'cafe' },
  });
  writer.record(RECORD.FNAME, LIBRARY, { state: mappedFile('/usr/bin/worker') });
  writer.record(RECORD.FD_DATA, LOG, {
    kind: 'regular-file',
    state: { ...mappedFile('/var/log/worker'), flags: 0o102001, position: 77n, locks: [] },
    contentBytes: 0,
  });
  writer.record(RECORD.FD_DATA, UNNAMED, {
    kind: 'from-the-future',
    state: { path: '/tmp/x', flags: 2, colour: 'blue' },
    contentBytes: 5000,
  });
  writer.record(RECORD.FILES, FILES, {
    entries: [
      { fd: 1, object: LOG, closeOnExec: false },
      { fd: 2, object: LOG, closeOnExec: true },
      { fd: 9, object: UNNAMED, closeOnExec: false },
    ],
  });
  writer.record(RECORD.MM, MEMORY, { mappings: mappings.length, pages: 5 });
  writer.record(RECORD.VMA, MEMORY, { mappings });
  writer.record(RECORD.TASK_STATE, 4242, { aspects });
  writeThread(writer, 4242, sleeping, 0n, 'worker');
  writeThread(writer, 4243, running, 0xffff_ffff_fffb_feffn, 'helper');
  writer.chunk(MEMORY, [{ start: 0x50_3000, pages: 2, kind: 'data' }], pageData(2), { level });
  writer.chunk(MEMORY, [{ start: 0x50_0000, pages: 2, kind: 'zero' }], new Uint8Array(0));
  writer.chunk(UNNAMED, [{ start: 0, pages: 2, kind: 'data' }], pageData(2), { level });
  writer.timeline({
    stoppingUs: 61_300,
    stoppedUs: 61_720,
    collectedUs: 65_000,
    securedUs: 70_000,
    resumedUs: 71_300,
    writtenUs: 1_305_000,
  });
  writer.end();
}

function writeThread(
  writer: ImageWriter,
  tid: number,
  registers: Partial<Record<RegisterName, bigint>>,
  signalMask: bigint,
  comm: string,
): void {
  writer.record(RECORD.THREAD_STATE, tid, { signalMask, aspects: threadAspects(comm) });
  writer.bytes(RECORD.THREAD, tid, encodeThread(new Uint8Array(24)));
  writer.bytes(RECORD.CPU, tid, cpuRecord(registers, 0b110n));
}

export const processImage = (level?: number): Uint8Array => writeImage((writer) => writeProcess(writer, level));
