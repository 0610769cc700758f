/** The notes of a core file (core(5), elf(5)): process, threads, auxiliary vector, mapped files. In the order of the kernel's. */
import { fsaveOf } from '../arch/x86/fsave.ts';
import { type CpuState, decodeCpu } from '../arch/x86/records.ts';
import { type RegisterFile, type RegisterName, readRegister } from '../arch/x86/registers.ts';
import { inStandardLayout } from '../arch/x86/standard-xstate.ts';
import { LEGACY_SIZE, xstateFault } from '../arch/x86/xstate.ts';
import { badRecord } from '../image/image-errors.ts';
import type { ThreadModel } from '../image/process-model.ts';
import type { ProcessParts } from '../image/processes.ts';
import { ELF } from '../kernel/abi/elf.ts';
import { procfsAbi } from '../kernel/abi/procfs.ts';
import { NT } from '../kernel/abi/ptrace.ts';
import { structOf } from '../kernel/struct.ts';

const { elf_prstatus, elf_prpsinfo, elf_prstatus_i386, elf_prpsinfo_i386 } = procfsAbi.structs;
const status64 = structOf(elf_prstatus);
const status32 = structOf(elf_prstatus_i386);
const info64 = structOf(elf_prpsinfo);
const info32 = structOf(elf_prpsinfo_i386);

export interface FileRange {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
  readonly path: string;
}

export interface NoteFacts {
  readonly process: ProcessParts;
  readonly files: readonly FileRange[];
  /** As they are in its memory, separated by NUL. */
  readonly arguments: Buffer;
}

export interface Notes {
  readonly bytes: Buffer;
  /** Components of the processor's state that a thread uses and that debuggers have no place for. */
  readonly leftComponents: ReadonlySet<number>;
}

export function coreNotes(facts: NoteFacts): Notes {
  const { process, files } = facts;
  const leftComponents = new Set<number>();
  const is32 = process.task.addressBits === 32;
  const notes = process.threads.flatMap((thread, index) => {
    const cpu = standardCpu(thread, leftComponents);
    const ofThread = threadNotes(process, thread.tid, thread.state.signalMask, cpu);
    if (index > 0) return ofThread;
    const [status = Buffer.alloc(0), ...others] = ofThread;
    const ofProcess = [
      note('CORE', NT.NT_PRPSINFO, processInfo(facts)),
      note('CORE', ELF.NT_SIGINFO, Buffer.alloc(SIGINFO_SIZE)),
      note('CORE', NT.NT_AUXV, auxiliaryVector(process)),
      note('CORE', ELF.NT_FILE, fileTable(files, is32 ? 4 : 8)),
    ];
    return [status, ...ofProcess, ...others];
  });
  return { bytes: Buffer.concat(notes), leftComponents };
}

function standardCpu({ cpu, where }: ThreadModel, leftComponents: Set<number>): CpuState {
  const decoded = decodeCpu(cpu, where);
  const fault = xstateFault(decoded.xstate, decoded.layout, ANY_MXCSR);
  if (fault !== undefined) throw badRecord(where, fault);
  const { image, left } = inStandardLayout(decoded.xstate, decoded.layout);
  for (const index of left) leftComponents.add(index);
  return { ...decoded, xstate: image };
}

/** Whatever is in MXCSR can be shown. */
const ANY_MXCSR = 0xffff_ffff;
const SIGINFO_SIZE = 128;
const PAGE = 4096;

/** All notes of core files are aligned to 4 bytes, also those of 64-bit programs. */
function note(name: string, type: number, content: Buffer): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(name.length + 1, 0);
  header.writeUInt32LE(content.length, 4);
  header.writeUInt32LE(type, 8);
  return Buffer.concat([header, aligned(Buffer.from(`${name}\0`)), aligned(content)]);
}

const aligned = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

function threadNotes(process: ProcessParts, tid: number, mask: bigint, cpu: CpuState): Buffer[] {
  const { xstate, registers } = cpu;
  const legacy = xstate.subarray(0, LEGACY_SIZE);
  const ids = {
    pr_pid: tid,
    pr_ppid: process.parent ?? 0,
    pr_pgrp: leads(process, 'leadsGroup'),
    pr_sid: leads(process, 'leadsSession'),
    pr_fpvalid: 1,
  };
  if (process.task.addressBits === 32) {
    const lowMask = Number(mask & 0xffff_ffffn);
    return [
      note('CORE', NT.NT_PRSTATUS, status32.encode({ ...ids, pr_sighold: lowMask, pr_reg: registers32(registers) })),
      note('CORE', NT.NT_PRFPREG, fsaveOf(legacy)),
      note('LINUX', ELF.NT_PRXFPREG, legacy),
      note('LINUX', NT.NT_X86_XSTATE, xstate),
    ];
  }
  const file = Buffer.from(registers.buffer, registers.byteOffset, registers.byteLength);
  return [
    note('CORE', NT.NT_PRSTATUS, status64.encode({ ...ids, pr_sighold: mask, pr_reg: file })),
    note('CORE', NT.NT_PRFPREG, legacy),
    note('LINUX', NT.NT_X86_XSTATE, xstate),
  ];
}

/** Group and session of a process that leads them are its pid; those of others have no number in an image. */
function leads({ task, aspects }: ProcessParts, field: string): number {
  return fieldOf(aspects['session'], field) === true ? task.pid : 0;
}

/** struct user_regs_struct of i386 (sys/user.h). */
const order32: readonly RegisterName[] = [
  ...(['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rax', 'ds', 'es', 'fs', 'gs'] as const),
  ...(['orig_rax', 'rip', 'cs', 'eflags', 'rsp', 'ss'] as const),
];

function registers32(registers: RegisterFile): Buffer {
  const bytes = Buffer.alloc(order32.length * 4);
  order32.forEach((name, index) => {
    bytes.writeUInt32LE(Number(readRegister(registers, name) & 0xffff_ffffn), index * 4);
  });
  return bytes;
}

const RUNNING = 'R'.charCodeAt(0);
const LARGEST_ID_OF_16_BITS = 0xffff;
/** What the kernel shows of an id that 16 bits cannot hold (/proc/sys/kernel/overflowuid). */
const OVERFLOW_ID = 65_534;

function processInfo({ process, arguments: text }: NoteFacts): Buffer {
  const { task, aspects } = process;
  const spaced = Buffer.from(text.map((byte) => (byte === 0 ? 0x20 : byte)));
  const uid = idOf(aspects, 'uid');
  const gid = idOf(aspects, 'gid');
  const common = {
    pr_sname: RUNNING,
    pr_pid: task.pid,
    pr_ppid: process.parent ?? 0,
    pr_pgrp: leads(process, 'leadsGroup'),
    pr_sid: leads(process, 'leadsSession'),
    pr_fname: Buffer.from(task.comm).subarray(0, 15),
    pr_psargs: spaced.subarray(0, procfsAbi.constants.ELF_PRARGSZ - 1),
  };
  if (task.addressBits !== 32) return info64.encode({ ...common, pr_uid: uid, pr_gid: gid });
  const low = (id: number): number => (id > LARGEST_ID_OF_16_BITS ? OVERFLOW_ID : id);
  return info32.encode({ ...common, pr_uid: low(uid), pr_gid: low(gid) });
}

function idOf(aspects: ProcessParts['aspects'], which: 'uid' | 'gid'): number {
  const id = fieldOf(fieldOf(aspects['credentials'], which), 'real');
  return typeof id === 'number' && id >= 0 && id <= 0xffff_ffff ? id : 0;
}

const END_OF_VECTOR = 16;

function auxiliaryVector({ aspects }: ProcessParts): Buffer {
  const auxv = fieldOf(aspects['memoryMapFields'], 'auxv');
  return auxv instanceof Uint8Array ? Buffer.from(auxv) : Buffer.alloc(END_OF_VECTOR);
}

/** fill_files_note() in fs/binfmt_elf.c: count, page size, {start, end, offset in pages}, then the names. */
function fileTable(files: readonly FileRange[], word: 4 | 8): Buffer {
  const numbers = [
    files.length,
    PAGE,
    ...files.flatMap(({ start, end, offset }) => [start, end, Math.floor(offset / PAGE)]),
  ];
  const table = Buffer.alloc(numbers.length * word);
  numbers.forEach((number, index) => {
    if (word === 8) table.writeBigUInt64LE(BigInt(number), index * 8);
    else table.writeUInt32LE(number % 2 ** 32, index * 4);
  });
  return Buffer.concat([table, Buffer.from(files.map(({ path }) => `${path}\0`).join(''))]);
}

/** States of kinds are not known here: a field that is not as it was expected counts as missing. */
export function fieldOf(state: unknown, name: string): unknown {
  return typeof state === 'object' && state !== null && Object.hasOwn(state, name)
    ? (state as Record<string, unknown>)[name]
    : undefined;
}
