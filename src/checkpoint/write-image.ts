/** Write: the collected tree as a stream of records, objects before their users, then the pages. */
import { randomUUID } from 'node:crypto';
import { release, version } from 'node:os';
import { encodeCpu, encodeMemoryContext, encodeThread } from '../arch/x86/records.ts';
import { componentName, type XstateLayout } from '../arch/x86/xstate.ts';
import { type Envelope, newEnvelope } from '../image/envelope.ts';
import type { HeadState } from '../image/head.ts';
import type { Protection } from '../image/protection.ts';
import { RECORD } from '../image/record-types.ts';
import { SEGMENT_OVERHEAD, sealSegment } from '../image/segment.ts';
import { ImageWriter } from '../image/writer.ts';
import type { SaveEncryption } from '../pages/save-job.ts';
import { readCpuinfo } from '../procfs/cpuinfo.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { QuicksaveError, RefusedError } from '../support/errors.ts';
import { VERSION } from '../support/version.ts';
import type { CollectedMapping, CollectedTask, CollectedTree } from './collect.ts';
import type { Output } from './output.ts';
import type { PagePlan } from './page-plan.ts';

/** Mappings of one VMA record: a program with ten thousand of them must not make one record of megabytes. */
const MAPPINGS_PER_RECORD = 4096;

export function describeHost(layout: XstateLayout, parentId?: string): HeadState {
  const { vendor, flags } = readCpuinfo();
  return {
    imageId: randomUUID(),
    ...(parentId === undefined ? {} : { parentId }),
    tool: `quicksave ${VERSION}`,
    createdAt: Date.now(),
    kernel: { release: release().slice(0, 64), version: version().slice(0, 64), machine: 'x86_64' },
    pageSize: 4096,
    cpu: {
      vendor,
      features: [...flags],
      xcr0: layout.xcr0,
      xstateSize: layout.sizeBytes,
      components: layout.components.map(({ index, offset, sizeBytes }) => ({
        index,
        offset,
        size: sizeBytes,
        name: componentName(index),
      })),
    },
  };
}

/** More than this is not collected. */
const FLUSH_AT_BYTES = 4 * 1024 * 1024;

/** Bytes that wait to be written. */
interface Waiting {
  readonly bytes: Uint8Array;
  /** Of an encrypted image: they are a segment of their own. */
  readonly alone: boolean;
}

/**
 * Collects records, because each write to the output costs more than a record's encoding; encrypts them, if that is wanted.
 *
 * Positions are those of the plain image.
 */
export class ImageStream {
  /** Of the image, once HEAD is made. */
  imageId = '';
  readonly writer: ImageWriter;
  readonly output: Output;
  readonly #envelope: Envelope | undefined;
  #segments = 0;
  #position = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;

  constructor(output: Output, { recipients, signer }: Protection) {
    this.output = output;
    this.#envelope = recipients.length === 0 ? undefined : newEnvelope(recipients);
    const sink = {
      // The bytes are the writer's again afterwards only for pages; records are made anew each time.
      write: (bytes: Uint8Array) => this.#collect({ bytes, alone: false }),
      writePages: (bytes: Uint8Array) => this.#collect({ bytes, alone: true }),
      skip: (bytes: number) => {
        this.flush();
        this.#position += bytes;
      },
    };
    this.writer = new ImageWriter(sink, signer);
  }

  head(state: HeadState): void {
    this.imageId = state.imageId;
    this.writer.head(state);
  }

  /** What is in the output so far, as far as it was not only collected. */
  get writtenBytes(): number {
    return this.#outputPosition(this.#position);
  }

  /** What threads need that write page chunks themselves; undefined if the image is not encrypted. */
  get encryption(): SaveEncryption | undefined {
    if (this.#envelope === undefined) return undefined;
    return { key: this.#envelope.key, offset: this.#outputPosition(0) };
  }

  /** Others have written so many. */
  countSegments(count: number): void {
    this.#segments += count;
  }

  #outputPosition(position: number): number {
    return (this.#envelope?.bytes.length ?? 0) + position + this.#segments * SEGMENT_OVERHEAD;
  }

  #collect(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#waitingBytes += waiting.bytes.length;
    if (this.#waitingBytes > FLUSH_AT_BYTES) this.flush();
  }

  /** Writes what was collected; must come before anybody else writes to the output. */
  flush(): void {
    this.#flush(false);
  }

  /** TAIL is the end. */
  end(): void {
    this.writer.end();
    this.#flush(true);
  }

  #flush(isEnd: boolean): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const all = this.#envelope === undefined ? [Buffer.concat(waiting.map(({ bytes }) => bytes))] : segmentsOf(waiting);
    all.forEach((bytes, index) => {
      this.#write(bytes, isEnd && index === all.length - 1);
    });
  }

  #write(bytes: Uint8Array, isLast: boolean): void {
    const { output } = this;
    if (this.#envelope === undefined) output.write(bytes, this.#position);
    else {
      const { bytes: envelope, key } = this.#envelope;
      if (this.#position === 0) output.write(envelope, 0);
      const segment = sealSegment(key, this.#position, [bytes], { isLast });
      output.write(Buffer.concat(segment), this.#outputPosition(this.#position));
      this.#segments++;
    }
    this.#position += bytes.length;
  }

  /**
   * Ends a stream with the reason why there is no image: whoever reads it at the other end can tell it. `reached`: how far others
   * have written.
   */
  fail(error: unknown, reached = 0): void {
    const isBegun = this.#position > 0;
    this.#waiting = isBegun ? [] : this.#waiting.slice(0, 1);
    this.#position = Math.max(this.#position, reached);
    const { code, text } = describeFailure(error);
    try {
      this.writer.fail(code, text);
      this.#flush(true);
    } catch {
      // The stream itself is what failed. Without TAIL no reader takes it.
    }
  }
}

/** Data of chunks each by itself, all else joined, in pieces that are no burden to a reader. */
function segmentsOf(waiting: readonly Waiting[]): Uint8Array[] {
  const found: { parts: Uint8Array[]; alone: boolean }[] = [];
  for (const { bytes, alone } of waiting) {
    const last = found.at(-1);
    if (last === undefined || alone || last.alone) found.push({ parts: [bytes], alone });
    else last.parts.push(bytes);
  }
  return found.flatMap(({ parts, alone }) => {
    const bytes = Buffer.concat(parts);
    return alone ? [bytes] : inPieces(bytes, FLUSH_AT_BYTES);
  });
}

const inPieces = (bytes: Buffer, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );

function describeFailure(error: unknown): { code: ErrorCode; text: string } {
  if (!(error instanceof QuicksaveError)) return { code: 'internal', text: String(error) };
  const problems = error instanceof RefusedError ? error.problems : [];
  const reasons = problems.map(({ path, message }) => `${path.join(' › ')}: ${message}`);
  return { code: error.code, text: [error.message, ...reasons].join(' ') };
}

/** Pages that go into the image, by the memory that they belong to. */
interface PlannedPages {
  readonly objref: number;
  readonly plan: PagePlan;
}

/** Where a memory may have pages from. */
interface Kinship {
  /** The memory of a process in the parent image. */
  readonly parentOf: (pid: number) => number | undefined;
  /** Memories of other processes of the tree. */
  readonly relativesOf: (memory: number) => readonly number[];
}

/** The hierarchy first, then objects before their users. */
export function writeTree(
  writer: ImageWriter,
  tree: CollectedTree,
  pages: readonly PlannedPages[],
  kinship: Kinship,
): void {
  for (const { task } of tree.processes) writer.record(RECORD.TASK, task.pid, task);
  for (const one of tree.exited) writer.record(RECORD.EXITED, one.pid, one);
  for (const { objref, state } of tree.mappedFiles) writer.record(RECORD.FNAME, objref, { state });
  for (const { objref, record } of tree.descriptions) writer.record(RECORD.FD_DATA, objref, record);
  for (const one of tree.processes) {
    const plans = pages.filter(({ objref }) => objref === one.task.memory).map(({ plan }) => plan);
    writeProcess(writer, one, plans, kinship);
  }
}

function writeProcess(writer: ImageWriter, process: CollectedTask, plans: readonly PagePlan[], kinship: Kinship): void {
  const { task } = process;
  for (const { objref, record } of process.tables) writer.record(RECORD.FILES, objref, record);
  if (!process.hasMemoryOfAnother) writeMemory(writer, process, plans, kinship);
  writer.record(RECORD.TASK_STATE, task.pid, { aspects: process.aspects });
  for (const thread of process.threads) {
    const { signalMask, waitedNs, aspects } = thread;
    writer.record(RECORD.THREAD_STATE, thread.tid, { signalMask, waitedNs, aspects });
    writer.bytes(RECORD.THREAD, thread.tid, encodeThread(thread.threadAreas));
    writer.bytes(RECORD.CPU, thread.tid, encodeCpu(thread.cpu));
  }
}

function writeMemory(writer: ImageWriter, process: CollectedTask, plans: readonly PagePlan[], kinship: Kinship): void {
  const { task, protectionKeys, localDescriptors } = process;
  const mappings = withPages(process.mappings, plans);
  const parent = kinship.parentOf(task.pid);
  const relatives = kinship.relativesOf(task.memory);
  writer.record(RECORD.MM, task.memory, {
    mappings: mappings.length,
    pages: pagesIn(plans),
    allocatedKeys: protectionKeys.allocated,
    executeOnlyKey: protectionKeys.executeOnly,
    ...(relatives.length === 0 ? {} : { relatives }),
    ...(parent === undefined ? {} : { parent }),
  });
  for (let index = 0; index < mappings.length; index += MAPPINGS_PER_RECORD) {
    writer.record(RECORD.VMA, task.memory, { mappings: mappings.slice(index, index + MAPPINGS_PER_RECORD) });
  }
  if (localDescriptors.length > 0) {
    writer.bytes(RECORD.MM_CONTEXT, task.memory, encodeMemoryContext(localDescriptors));
  }
}

export const pagesIn = (plans: readonly PagePlan[]): number => plans.reduce((sum, { pages }) => sum + pages, 0);

/** Says of each mapping whether the plans have pages of it. */
function withPages(
  mappings: readonly CollectedMapping[],
  plans: readonly PagePlan[],
): (CollectedMapping & { hasPages: boolean })[] {
  const ranges = plans.flatMap(({ chunks }) => chunks.flatMap((chunk) => chunk.ranges));
  ranges.sort((a, b) => a.start - b.start);
  let next = 0;
  return mappings.map((mapping) => {
    const endOf = (index: number): number => {
      const range = ranges[index];
      return range === undefined ? Number.POSITIVE_INFINITY : range.start + range.pages * 4096;
    };
    while (endOf(next) <= mapping.start) next++;
    const range = ranges[next];
    return { ...mapping, hasPages: range !== undefined && range.start < mapping.end };
  });
}
