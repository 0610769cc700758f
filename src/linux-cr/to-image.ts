/**
 * A stream of 2008 as an image of ours: its records say what they can, the rest is as unsaid.ts has it. The model is put
 * together by the same builder as that of any image, so that the same references are checked.
 */
import { extendBaseCpu } from '../arch/x86/records.ts';
import { encodeCbor } from '../image/cbor.ts';
import { encodeHead } from '../image/head.ts';
import { badRecord } from '../image/image-errors.ts';
import { type ImageModel, ModelBuilder } from '../image/model.ts';
import type { PageRun } from '../image/page-chunk.ts';
import type { ChunkRecord } from '../image/reader.ts';
import { RECORD, recordLabel } from '../image/record-types.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import type { Problem } from '../support/errors.ts';
import { auxiliaryVector, type ReadMemory } from './initial-stack.ts';
import { CR_FD, CR_SIZE, CR_VMA, FMODE, PAGE } from './layout.ts';
import { deviceNumbers, isKernelName, vdsoDigest } from './names.ts';
import type { LinuxCrStream, PageSpan, StreamDescription, StreamVma } from './stream.ts';
import { statesAfterExecve, unsaidOfProcess, unsaidOfThread } from './unsaid.ts';
import { flagsFault, isPageProtOf, kernelFlags, protectionOf, wordsOf } from './vm-flags.ts';

export const LINUX_CR_V8 = 'linux-cr-v8';

const MEMORY = 1;
const FILES = 2;
const FIRST_OBJECT = 3;
const MAX_CHUNK_PAGES = 256;
const MILLISECONDS = 1000;
const NANOSECONDS = 1_000_000_000n;

/** What the restart command adds to what the stream says. */
export interface RestartSide {
  /** States of the aspects that come from the command. */
  readonly processStates: Readonly<Record<string, unknown>>;
  readonly threadStates: Readonly<Record<string, unknown>>;
  readonly acceptChangedFiles: boolean;
  /** The file of that name as it is now; undefined if there is none. */
  readonly lookAt: (path: string) => NamedFile | undefined;
}

export interface NamedFile {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

export interface TranslatedStream {
  readonly model: ImageModel;
  /** Where the pages are: one chunk for a stretch of the stream, without data. */
  readonly chunks: readonly ChunkRecord[];
}

/** Without `side` nothing of this host is in the model: states that come from the command are missing in it. */
export function toImage(stream: LinuxCrStream, read: ReadMemory, side?: RestartSide): TranslatedStream {
  const translation = new Translation(stream, side);
  const chunks = translation.records(read);
  return { model: { ...translation.finish(), origin: translation.origin() }, chunks };
}

class Translation {
  readonly #stream: LinuxCrStream;
  readonly #side: RestartSide | undefined;
  readonly #builder = new ModelBuilder();
  readonly #files = new Map<string, number>();
  readonly #changed = new Set<string>();
  #nextObject = FIRST_OBJECT;

  constructor(stream: LinuxCrStream, side: RestartSide | undefined) {
    this.#stream = stream;
    this.#side = side;
  }

  /** In the order of our images. */
  records(read: ReadMemory): ChunkRecord[] {
    const { vmas, memoryContext, thread, cpu, pid } = this.#stream;
    this.#head();
    this.#task();
    for (const vma of vmas) this.#mappedFile(vma);
    const objects = this.#descriptions();
    this.#fileTable(objects);
    this.#memory();
    if (memoryContext.payload.length > CR_SIZE.MM_CONTEXT) {
      this.#bytes(RECORD.MM_CONTEXT, MEMORY, memoryContext.offset, memoryContext.payload);
    }
    this.#states(read);
    this.#bytes(RECORD.THREAD, pid, thread.offset, thread.payload);
    const segments = {
      threadAreas: thread.payload.subarray(CR_SIZE.THREAD),
      localDescriptors: memoryContext.payload.subarray(CR_SIZE.MM_CONTEXT),
    };
    this.#bytes(RECORD.CPU, pid, cpu.offset, extendBaseCpu(cpu.payload, segments));
    const chunks = vmas.flatMap(({ spans }) => chunksOf(spans));
    for (const chunk of chunks) this.#builder.addChunk(chunk);
    return chunks;
  }

  finish(): ImageModel {
    const model = this.#builder.finish();
    this.#builder.finishPages();
    return model;
  }

  #bytes(type: number, objref: number, offset: number, payload: Uint8Array): void {
    this.#builder.add({ kind: 'metadata', type, flags: 0, objref, offset, payload });
  }

  #record(type: number, objref: number, offset: number, state: unknown): void {
    this.#bytes(type, objref, offset, encodeCbor(state));
  }

  #head(): void {
    const { head, pid } = this.#stream;
    const { release, version, machine } = head;
    const payload = encodeHead({
      imageId: `${LINUX_CR_V8} ${pid} ${head.time}`,
      tool: LINUX_CR_V8,
      createdAt: head.time * MILLISECONDS,
      kernel: { release, version, machine },
      pageSize: PAGE,
      // FXSAVE is all that a stream has, and it does not say on which processor the program chose its code.
      cpu: { vendor: '', features: [], xcr0: 3n, xstateSize: 576, components: [] },
    });
    this.#bytes(RECORD.HEAD, 0, 0, payload);
  }

  #task(): void {
    const { pid, comm, mm, vmas } = this.#stream;
    const sha256 = vmas.map(({ name }) => vdsoDigest(name ?? '')).find((digest) => digest !== undefined);
    // What a kernel of 2008 has written can be looked at.
    if (sha256 === undefined && this.#side !== undefined) {
      throw badRecord(
        recordLabel(RECORD.MM, mm.offset),
        'no mapping after it is the vDSO of a kernel of today; a stream that a kernel of 2008 has written cannot be restarted',
      );
    }
    const task = {
      pid,
      comm,
      threads: [pid],
      memory: MEMORY,
      files: FILES,
      vdso: { sha256: sha256 ?? '' },
      addressBits: 32,
    };
    this.#record(RECORD.TASK, pid, mm.offset, task);
  }

  #mappedFile({ name, offset }: StreamVma): void {
    if (name === undefined || isKernelName(name) || this.#files.has(name)) return;
    const objref = this.#nextObject++;
    this.#files.set(name, objref);
    const state = { file: this.#identity(name, offset, RECORD.VMA), buildId: '', writable: false };
    this.#record(RECORD.FNAME, objref, offset, { state });
  }

  /** The stream has no more than the name: what it was is what is there now. */
  #identity(path: string, offset: number, type: number): Record<string, unknown> {
    if (!path.startsWith('/')) throw badRecord(recordLabel(type, offset), `"${path}" is no absolute path`, offset);
    const now = this.#side?.lookAt(path);
    if (now === undefined) return { path, device: 0, inode: 0, sizeBytes: 0, modifiedNs: 0 };
    if (now.mtimeNs > BigInt(this.#stream.head.time) * NANOSECONDS) this.#changed.add(path);
    return { path, device: now.dev, inode: now.ino, sizeBytes: now.size, modifiedNs: now.mtimeNs };
  }

  /** Our object for each of the stream's. */
  #descriptions(): Map<number, number> {
    const objects = new Map<number, number>();
    for (const description of this.#stream.descriptions) {
      const objref = this.#nextObject++;
      objects.set(description.objref, objref);
      this.#record(RECORD.FD_DATA, objref, description.offset, { ...this.#description(description), contentBytes: 0 });
    }
    return objects;
  }

  #description(description: StreamDescription): { kind: string; state: unknown } {
    const { type, mode, position, name, offset } = description;
    const label = recordLabel(RECORD.FD_DATA, offset);
    const flags = (description.flags & ~OPEN.O_CLOEXEC) >>> 0;
    if ((mode & (FMODE.READ | FMODE.WRITE)) !== accessMode(flags)) {
      throw badRecord(label, `its mode ${mode} is not that of its flags`, offset);
    }
    if (!name.startsWith('/')) throw badRecord(label, `"${name}" is no absolute path`, offset);
    const minor = deviceNumbers.get(name);
    if (type === CR_FD.FILE && minor !== undefined)
      return { kind: 'memory-device', state: { path: name, minor, flags } };
    if (type === CR_FD.FILE) {
      const file = this.#identity(name, offset, RECORD.FD_DATA);
      return { kind: 'regular-file', state: { file, flags, position, locks: [] } };
    }
    if (type === CR_FD.DIR) return { kind: 'directory', state: { path: name, flags, position } };
    const what = type === CR_FD.LINK ? 'it is a symbolic link, which nothing opens' : `its type is ${type}`;
    throw badRecord(label, what, offset);
  }

  #fileTable(objects: ReadonlyMap<number, number>): void {
    const { offset, entries } = this.#stream.files;
    this.#record(RECORD.FILES, FILES, offset, {
      entries: entries.map(({ fd, objref, closeOnExec }) => ({
        fd,
        object: objects.get(objref),
        closeOnExec: closeOnExec === 1,
      })),
    });
  }

  #memory(): void {
    const { mm, vmas } = this.#stream;
    const pages = vmas.reduce((sum, { spans }) => sum + pagesIn(spans), 0);
    this.#record(RECORD.MM, MEMORY, mm.offset, { mappings: vmas.length, pages });
    for (const vma of vmas) this.#record(RECORD.VMA, MEMORY, vma.offset, { mappings: [this.#mapping(vma)] });
  }

  #mapping(vma: StreamVma): Record<string, unknown> {
    const { start, end, flags, spans, offset } = vma;
    const label = recordLabel(RECORD.VMA, offset);
    const protection = protectionOf(flags);
    if (!isPageProtOf(vma.pageProt, protection)) {
      throw badRecord(label, `its page protection 0x${vma.pageProt.toString(16)} is not that of its flags`, offset);
    }
    const place = { start, end, protection };
    if (vma.name !== undefined && isKernelName(vma.name)) {
      if (spans.length > 0) throw badRecord(label, 'the kernel makes it itself, and it has pages', offset);
      if (flags !== kernelFlags(protection)) {
        throw badRecord(label, 'its flags are not those of a mapping that the kernel makes', offset);
      }
      const name = vdsoDigest(vma.name) === undefined ? vma.name : '[vdso]';
      return { ...place, offset: 0, flags: [], kind: 'kernel', state: { name }, hasPages: false };
    }
    const fault = flagsFault(flags);
    if (fault !== undefined) throw badRecord(label, fault, offset);
    const rest = { flags: wordsOf(flags), hasPages: spans.length > 0 };
    // Of private memory without a file vm_pgoff says where it was when it was made: the original set it to 0 as well.
    if (vma.type === CR_VMA.ANON) return { ...place, ...rest, offset: 0, kind: 'anonymous', state: { name: '' } };
    if (vma.pageOffset > MAX_PAGE_OFFSET) throw badRecord(label, 'its place in the file is beyond all files', offset);
    const file = this.#files.get(vma.name ?? '');
    return { ...place, ...rest, offset: Number(vma.pageOffset) * PAGE, kind: 'private-file', state: { file } };
  }

  #states(read: ReadMemory): void {
    const { pid, comm, mm } = this.#stream;
    const memoryMapFields = { ...mm.fields, auxv: auxiliaryVector(mm.fields, read), executable: this.#executable() };
    const aspects = { ...statesAfterExecve(unsaidOfProcess), ...this.#side?.processStates, memoryMapFields };
    this.#record(RECORD.TASK_STATE, pid, mm.offset, { aspects });
    const ofThread = { ...statesAfterExecve(unsaidOfThread), ...this.#side?.threadStates, name: { comm } };
    this.#record(RECORD.THREAD_STATE, pid, this.#stream.thread.offset, { signalMask: 0, aspects: ofThread });
  }

  /** The stream does not say which file was executed; its code is where the code of the process begins. */
  #executable(): number {
    const { mm, vmas } = this.#stream;
    const { startCode } = mm.fields;
    const code = vmas.find(({ start, end }) => start <= startCode && startCode < end);
    const found = this.#files.get(code?.name ?? '');
    if (found !== undefined) return found;
    throw badRecord(recordLabel(RECORD.MM, mm.offset), 'no file is mapped where its code begins', mm.offset);
  }

  origin(): NonNullable<ImageModel['origin']> {
    const accepted = this.#side?.acceptChangedFiles ?? true;
    return {
      format: LINUX_CR_V8,
      sizeBytes: this.#stream.sizeBytes,
      records: this.#stream.records,
      problems: accepted ? [] : [...this.#changed].map((path) => this.#changedFile(path)),
      remarks: [
        'the stream has no credentials, session, working directory, umask, scheduling and limits: they are those of this command',
        'it has no signal actions, masks, timers and settings: they are as after execve',
        'of its files it has only the names: they were taken as they are now',
        'nothing is registered for its C library (robust futexes, rseq), and it does not say which processor it was made for',
      ],
    };
  }

  #changedFile(path: string): Problem {
    const madeAt = new Date(this.#stream.head.time * MILLISECONDS).toISOString();
    return {
      code: 'changed-file',
      path: ['file', path],
      message: `The file ${path} has changed since the program was saved (${madeAt}).`,
      remedy: 'Put the old file back, or restart with --files accept-changed if the change does no harm.',
    };
  }
}

/** The end of what a file can have, in pages. */
const MAX_PAGE_OFFSET = 2n ** 51n / BigInt(PAGE);

const pagesIn = (spans: readonly PageSpan[]): number => spans.reduce((sum, { pages }) => sum + pages, 0);

/** FMODE_READ and FMODE_WRITE of an access mode of open(2). */
export const accessMode = (flags: number): number =>
  [FMODE.READ, FMODE.WRITE, FMODE.READ | FMODE.WRITE, 0][flags & 3] ?? 0;

/** Stretches of pages that follow each other in the stream; not too long, so that several threads can load them. */
function chunksOf(spans: readonly PageSpan[]): ChunkRecord[] {
  const chunks: ChunkRecord[] = [];
  let runs: PageRun[] = [];
  let [position, length] = [0, 0];
  const close = (): void => {
    if (runs.length > 0) chunks.push(chunkAt(position, runs));
    runs = [];
    length = 0;
  };
  for (const span of spans) {
    for (let done = 0; done < span.pages; ) {
      const at = span.position + done * PAGE;
      if (length === MAX_CHUNK_PAGES || at !== position + length * PAGE) close();
      if (runs.length === 0) position = at;
      const pages = Math.min(span.pages - done, MAX_CHUNK_PAGES - length);
      runs.push({ start: span.address + done * PAGE, pages, kind: 'data' });
      length += pages;
      done += pages;
    }
  }
  close();
  return chunks;
}

function chunkAt(position: number, runs: readonly PageRun[]): ChunkRecord {
  const rawBytes = runs.reduce((sum, { pages }) => sum + pages * PAGE, 0);
  return {
    kind: 'chunk',
    type: RECORD.PGARR,
    flags: 0,
    objref: MEMORY,
    offset: position,
    encoding: 'raw',
    runs,
    rawBytes,
    storedBytes: rawBytes,
    dataPosition: position,
    headerBytes: new Uint8Array(0),
    crc: 0,
    data: undefined,
  };
}
