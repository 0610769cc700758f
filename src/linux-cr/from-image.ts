/**
 * What of an image goes into a stream of 2008: every record but the pages, every reason why the stream cannot stand for the
 * image, and everything harmless that is lost in it.
 */
import * as v from 'valibot';
import { encodeMemoryContext } from '../arch/x86/records.ts';
import { encodeCpu2008, lostIn2008 } from '../arch/x86/records-2008.ts';
import { checkedRegisters, localDescriptorsOf } from '../arch/x86/thread-registers.ts';
import type { ImageModel } from '../image/model.ts';
import type { ProcessModel, ThreadModel } from '../image/process-model.ts';
import { boundedString, byteString, i64, objectReference, parseState, u32, u64, userAddress } from '../image/schema.ts';
import type { MappingState } from '../image/tree.ts';
import { signalName } from '../kernel/abi/signal.ts';
import type { Problem } from '../support/errors.ts';
import {
  CR_CTX_CKPT,
  CR_FD,
  CR_VERSION,
  CR_VMA,
  type CrFdData,
  type CrFdEntry,
  type CrHead,
  type CrMmFields,
  type CrVma,
  FMODE,
  mmFields,
  PAGE,
  PATH_MAX,
  TASK_COMM_LEN,
} from './layout.ts';
import { deviceNumbers, vdsoName } from './names.ts';
import { accessMode } from './to-image.ts';
import { isSameState, type Unsaid, unsaidOfProcess, unsaidOfThread } from './unsaid.ts';
import { kernelFlags, lostWords, pageProtOf, privateFlags } from './vm-flags.ts';

export interface VmaToWrite extends CrVma {
  readonly name: string | undefined;
  /** Pages that are all zero and differ from the file behind them. */
  readonly keepsZeroPages: boolean;
}

export interface DescriptorToWrite extends CrFdEntry {
  /** Only the first of those that share it. */
  readonly description: (CrFdData & { readonly name: string }) | undefined;
}

export interface StreamToWrite {
  readonly head: CrHead;
  readonly pid: number;
  readonly comm: string;
  readonly fields: CrMmFields;
  readonly vmas: readonly VmaToWrite[];
  readonly memoryContext: Buffer;
  readonly descriptors: readonly DescriptorToWrite[];
  /** THREAD with the thread areas. */
  readonly thread: Buffer;
  readonly cpu: Buffer;
  /** The registration for restartable sequences, which the stream cannot say: its memory is written as unregistered. */
  readonly rseq: { readonly address: number; readonly sizeBytes: number } | undefined;
  /** The auxiliary vector, which the stream has on the stack only. */
  readonly auxv: Uint8Array;
}

export interface ExportPlan {
  readonly problems: readonly Problem[];
  /** Sentences: what the stream does not have, and the program does not notice. */
  readonly losses: readonly string[];
  /** Undefined if there are problems. */
  readonly stream: StreamToWrite | undefined;
}

const MEMORY_END_32 = 0xffff_ffffn;
const KEEP_THE_IMAGE = 'Restart it from the image itself, which has it.';
const NANOSECONDS = 1_000_000_000n;
const NANOSECONDS_IN_MS = 1_000_000n;

const memoryMapSchema = v.object({
  ...(Object.fromEntries(mmFields.map((name) => [name, userAddress])) as Record<
    (typeof mmFields)[number],
    typeof userAddress
  >),
  auxv: byteString(1024),
  executable: objectReference,
});
const nameSchema = v.object({ comm: boundedString(TASK_COMM_LEN * 4) });
const pointersSchema = v.object({ rseq: v.object({ address: u64, sizeBytes: u32 }) });
const identitySchema = v.object({ path: boundedString(PATH_MAX), modifiedNs: i64 });
const mappedFileSchema = v.object({ file: identitySchema });
const regularFileSchema = v.object({
  file: identitySchema,
  flags: u32,
  position: u64,
  locks: v.array(v.unknown()),
});
const directorySchema = v.object({ path: boundedString(PATH_MAX), flags: u32, position: u64 });
const deviceSchema = v.object({ path: boundedString(PATH_MAX), minor: u32, flags: u32 });

export function planExport(model: ImageModel): ExportPlan {
  const collected = new Exporter(model);
  const stream = collected.stream();
  const { problems, losses } = collected;
  return { problems, losses, stream: problems.length > 0 ? undefined : stream };
}

class Exporter {
  readonly problems: Problem[] = [];
  readonly losses: string[] = [];
  readonly #model: ImageModel;
  readonly #process: ProcessModel;
  /** Last changes of the files that it names. */
  readonly #changes: bigint[] = [];

  constructor(model: ImageModel) {
    this.#model = model;
    this.#process = model.root;
  }

  stream(): StreamToWrite | undefined {
    if (this.#refuseOtherPrograms()) return undefined;
    const { task, aspects, threads } = this.#process;
    const [thread] = threads;
    if (thread === undefined) return undefined;
    this.#refuseCompany();
    this.#losses(`pid ${task.pid}`, aspects, unsaidOfProcess);
    this.#losses(`thread ${thread.tid}`, thread.state.aspects, unsaidOfThread);
    this.#blockedSignals(thread.state.signalMask);
    const descriptors = this.#descriptors();
    const vmas = this.#process.mappings.map((mapping) => this.#vma(mapping));
    const fields = parseState(memoryMapSchema, aspects['memoryMapFields'], 'TASK_STATE record: memoryMapFields');
    this.#executable(fields.executable, fields.startCode, vmas);
    const { rseq } = parseState(
      pointersSchema,
      thread.state.aspects['threadPointers'],
      'THREAD_STATE record: threadPointers',
    );
    this.losses.push(
      'credentials, session, working directory, umask, scheduling and limits: a restart gives it those of its command',
      'size and time of its files: a restart takes those that it finds, unless they have changed since the save',
      'the features of its processor: a restart cannot tell whether another one has what the program uses',
    );
    return {
      head: this.#head(),
      pid: task.pid,
      comm: parseState(nameSchema, thread.state.aspects['name'], 'THREAD_STATE record: name').comm,
      fields,
      vmas: vmas.filter((vma) => vma !== undefined),
      descriptors,
      ...this.#registers(thread),
      rseq: rseq.address === 0n ? undefined : { address: Number(rseq.address), sizeBytes: rseq.sizeBytes },
      auxv: fields.auxv,
    };
  }

  #refuse(where: readonly string[], what: string, remedy = KEEP_THE_IMAGE): void {
    this.problems.push({
      code: 'no-place-in-format',
      path: [`pid ${this.#process.task.pid}`, ...where],
      message: `A stream of 2008 has no place for ${what}.`,
      remedy,
    });
  }

  /** True for what has so little in common with a task of 2008 that nothing else need be said. */
  #refuseOtherPrograms(): boolean {
    const { task } = this.#process;
    const { head, processes, exited } = this.#model;
    if (head.state.parentId !== undefined) this.#refuse([], 'an image that builds on another one');
    if (processes.length + exited.length > 1) this.#refuse([], 'more than one process');
    if (task.addressBits !== 32) this.#refuse([], 'a 64-bit program: it is of x86-32 only');
    return this.problems.length > 0;
  }

  #refuseCompany(): void {
    const { task, threads, memory } = this.#process;
    if (threads.length > 1) {
      this.#refuse([], `${threads.length} threads: it has one task`, 'Save the program when it has one thread.');
    }
    if (task.leaderStatus !== undefined) this.#refuse([], 'a first thread that has ended before the others');
    if (task.layoutBits !== 0) this.#refuse([], 'the memory layout that it was executed with (personality(2))');
    if (task.clocks?.apart)
      this.#refuse([], 'clocks of a time namespace', 'Restart it with --clock host, and save that.');
    if (task.stopped !== undefined)
      this.#refuse([], 'a program that a signal has stopped', 'Let it go on: kill -CONT.');
    if (task.saver !== undefined) {
      this.#refuse([], 'a program that waits for the command by which it saves itself', 'Save it from outside.');
    }
    const { allocatedKeys, executeOnlyKey } = memory;
    if (allocatedKeys !== 0 || executeOnlyKey !== 0) this.#refuse(['memory'], 'its protection keys (pkeys(7))');
  }

  #losses(where: string, states: Readonly<Record<string, unknown>>, table: Readonly<Record<string, Unsaid>>): void {
    for (const [name, state] of Object.entries(states)) {
      const unsaid = table[name];
      if (unsaid === undefined) this.#refuse([where, name], `its ${name}`);
      else if (
        unsaid.from === 'execve' &&
        !isSameState(state, unsaid.state) &&
        !isDefaultSpeculation(name, state, unsaid.state)
      ) {
        if (unsaid.needed) this.#refuse([name], unsaid.what(state), unsaid.remedy);
        else this.losses.push(unsaid.what(state));
      }
    }
  }

  #blockedSignals(mask: bigint): void {
    if (mask === 0n) return;
    const blocked = Array.from({ length: 64 }, (_, index) => index + 1).filter(
      (signal) => (mask >> BigInt(signal - 1)) & 1n,
    );
    this.#refuse(
      ['signal mask'],
      `blocked signals (${blocked.map(signalName).join(', ')})`,
      'Save it when it blocks none.',
    );
  }

  #head(): CrHead {
    const { kernel, createdAt } = this.#model.head.state;
    const [, major = 0, minor = 0, patch = 0] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(kernel.release) ?? [];
    // Whole seconds, and none before the last change that the save has seen: a later one was made after it.
    const latest = [BigInt(createdAt) * NANOSECONDS_IN_MS, ...this.#changes].reduce((a, b) => (a > b ? a : b));
    return {
      major: Number(major ?? 0) & 0xff,
      minor: Number(minor ?? 0) & 0xff,
      patch: Number(patch ?? 0) & 0xff,
      rev: CR_VERSION,
      time: Number((latest + NANOSECONDS - 1n) / NANOSECONDS),
      flags: BigInt(CR_CTX_CKPT),
      release: kernel.release,
      version: kernel.version,
      machine: kernel.machine,
    };
  }

  #registers(thread: ThreadModel): Pick<StreamToWrite, 'thread' | 'cpu' | 'memoryContext'> {
    const localDescriptors = localDescriptorsOf(this.#process.memoryContext);
    const { cpu, threadAreas } = checkedRegisters(thread, localDescriptors);
    for (const lost of lostIn2008(cpu, { threadAreas, localDescriptors })) {
      this.#refuse(
        ['registers'],
        lost,
        'Save it at another moment, when the program is not in the middle of using it.',
      );
    }
    return { thread: thread.thread, cpu: encodeCpu2008(cpu), memoryContext: encodeMemoryContext(localDescriptors) };
  }

  #executable(objref: number, startCode: number, vmas: readonly (VmaToWrite | undefined)[]): void {
    const path = this.#pathOf(objref);
    const code = vmas.find((vma) => vma !== undefined && vma.start <= startCode && startCode < vma.end);
    if (code?.name === path) return;
    this.#refuse(['exe'], `its program file ${path}, which is not mapped where its code begins`);
  }

  #pathOf(objref: number): string {
    const where = `FNAME record of object ${objref}`;
    const { file } = parseState(mappedFileSchema, this.#model.mappedFiles.get(objref), where);
    this.#changes.push(file.modifiedNs);
    return this.#checkedPath(file.path, ['mapped file', file.path]);
  }

  #checkedPath(path: string, where: readonly string[]): string {
    if (Buffer.byteLength(path) >= PATH_MAX) this.#refuse(where, 'a name of so many bytes');
    return path;
  }

  #vma(mapping: MappingState): VmaToWrite | undefined {
    const { start, end, protection, kind, state, offset } = mapping;
    const where = `mapping 0x${start.toString(16)}`;
    const base = { start, end, pageProt: pageProtOf(protection) };
    if (BigInt(end) > MEMORY_END_32) this.#refuse([where], 'memory above 4 GiB');
    if (kind === 'kernel') {
      const { name } = parseState(v.object({ name: boundedString(32) }), state, `VMA record: ${where}`);
      const flags = kernelFlags(protection);
      const written = name === '[vdso]' ? vdsoName(this.#process.task.vdso.sha256) : name;
      return { ...base, type: CR_VMA.FILE, flags, pageOffset: 0n, name: written, keepsZeroPages: false };
    }
    this.#mappingLosses(mapping, where);
    const rest = { ...base, flags: privateFlags({ protection, words: mapping.flags }) };
    if (kind === 'anonymous') {
      const { name } = parseState(v.object({ name: boundedString(256) }), state, `VMA record: ${where}`);
      if (name !== '') this.losses.push(`the name "${name}" of the ${where}`);
      const pageOffset = BigInt(start / PAGE);
      return { ...rest, type: CR_VMA.ANON, pageOffset, name: undefined, keepsZeroPages: false };
    }
    if (kind === 'private-file') {
      const { file } = parseState(v.object({ file: objectReference }), state, `VMA record: ${where}`);
      const pageOffset = BigInt(offset / PAGE);
      return { ...rest, type: CR_VMA.FILE, pageOffset, name: this.#pathOf(file), keepsZeroPages: true };
    }
    const remedy = 'Save it when the program has unmapped it.';
    this.#refuse([where], `memory of the kind ${kind}: it knows private memory only`, remedy);
    return undefined;
  }

  #mappingLosses({ flags, protectionKey, guards }: MappingState, where: string): void {
    const { needed, hints } = lostWords(flags);
    for (const lost of needed) this.#refuse([where], lost);
    for (const lost of hints) this.losses.push(`of the ${where} ${lost}`);
    if (protectionKey !== 0) this.#refuse([where], 'its protection key (pkeys(7))');
    if (guards.length > 0) this.#refuse([where], 'guard pages (MADV_GUARD_INSTALL)');
  }

  #descriptors(): DescriptorToWrite[] {
    const numbers = new Map<number, number>();
    const described = this.#process.files.entries.flatMap(({ fd, object, closeOnExec }) => {
      const known = numbers.get(object);
      const objref = known ?? numbers.size + 1;
      numbers.set(object, objref);
      const description = known === undefined ? this.#description(object, fd) : undefined;
      return [{ fd, objref, closeOnExec: closeOnExec ? 1 : 0, description }];
    });
    return described;
  }

  #description(object: number, fd: number): (CrFdData & { readonly name: string }) | undefined {
    const { kind = 'none', state } = this.#model.descriptions.get(object) ?? {};
    const where = [`fd ${fd}`];
    const record = `FD_DATA record of object ${object}`;
    const data = (type: number, flags: number, position: bigint, name: string) => ({
      type,
      mode: accessMode(flags) | FMODE.LSEEK | FMODE.PREAD,
      flags,
      position,
      version: 0n,
      name: this.#checkedPath(name, where),
    });
    if (kind === 'regular-file') {
      const { file, flags, position, locks } = parseState(regularFileSchema, state, record);
      if (locks.length > 0) this.#refuse(where, `its locks of ${file.path}`, 'Save it when it holds no lock.');
      if (deviceNumbers.has(file.path)) this.#refuse(where, `a regular file called ${file.path}`);
      this.#changes.push(file.modifiedNs);
      return data(CR_FD.FILE, flags, position, file.path);
    }
    if (kind === 'directory') {
      const { path, flags, position } = parseState(directorySchema, state, record);
      return data(CR_FD.DIR, flags, position, path);
    }
    if (kind === 'memory-device') {
      const { path, minor, flags } = parseState(deviceSchema, state, record);
      if (deviceNumbers.get(path) !== minor) this.#refuse(where, `a device called ${path}`);
      return data(CR_FD.FILE, flags, 0n, path);
    }
    const remedy =
      kind === 'external-stream'
        ? 'Start the program with its streams in files or in /dev/null.'
        : 'Save it when the program has closed it.';
    this.#refuse(where, `what it has open there (${kind}): it knows files and directories only`, remedy);
    return undefined;
  }
}

/** What a processor lets a thread choose is told as chosen where it is as it always is: PR_SPEC_ENABLE. */
function isDefaultSpeculation(name: string, state: unknown, usual: unknown): boolean {
  if (name !== 'settings' || typeof state !== 'object' || state === null || !('speculation' in state)) return false;
  const { speculation, ...rest } = state;
  const { speculation: _, ...usualRest } = usual as Record<string, unknown>;
  const PR_SPEC_ENABLE = 2;
  const chosen = Array.isArray(speculation) && speculation.some((mode) => mode !== 0 && mode !== PR_SPEC_ENABLE);
  return !chosen && isSameState(rest, usualRest);
}
