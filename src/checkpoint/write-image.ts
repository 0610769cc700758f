/** Write: the collected tree as a stream of records, objects before their users, then the pages. */
import { randomUUID } from 'node:crypto';
import { release, version } from 'node:os';
import { encodeCpu, encodeMemoryContext, encodeThread } from '../arch/x86/records.ts';
import { componentName, type XstateLayout } from '../arch/x86/xstate.ts';
import type { HeadState } from '../image/head.ts';
import { RECORD } from '../image/record-types.ts';
import { ImageWriter } from '../image/writer.ts';
import { readCpuinfo } from '../procfs/cpuinfo.ts';
import { QuicksaveError, RefusedError } from '../support/errors.ts';
import { VERSION } from '../support/version.ts';
import type { CollectedMapping, CollectedTask, CollectedTree } from './collect.ts';
import type { Output } from './output.ts';
import type { PagePlan } from './page-plan.ts';

/** Mappings of one VMA record: a program with ten thousand of them must not make one record of megabytes. */
const MAPPINGS_PER_RECORD = 4096;

export function describeHost(layout: XstateLayout): HeadState {
  const { vendor, flags } = readCpuinfo();
  return {
    imageId: randomUUID(),
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

/** Collects records, because each write to the output costs more than a record's encoding. */
export class ImageStream {
  readonly writer: ImageWriter;
  readonly output: Output;
  #position = 0;
  #waiting: Uint8Array[] = [];

  constructor(output: Output) {
    this.output = output;
    this.writer = new ImageWriter({
      write: (bytes) => {
        // The bytes are the writer's again afterwards only for pages; records are made anew each time.
        this.#waiting.push(bytes);
      },
      skip: (bytes) => {
        this.flush();
        this.#position += bytes;
      },
    });
  }

  /** Bytes so far, as far as they were not only collected. */
  get position(): number {
    return this.#position;
  }

  /** Writes what was collected; must come before anybody else writes to the output. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const bytes = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.output.write(bytes, this.#position);
    this.#position += bytes.length;
  }

  /** Ends a stream with the reason why there is no image: whoever reads it at the other end can tell it. */
  fail(error: unknown): void {
    const isBegun = this.#position > 0;
    this.#waiting = isBegun ? [] : this.#waiting.slice(0, 1);
    const { code, text } = describeFailure(error);
    try {
      this.writer.fail(code, text);
      this.flush();
    } catch {
      // The stream itself is what failed. Without TAIL no reader takes it.
    }
  }
}

function describeFailure(error: unknown): { code: string; text: string } {
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

/** The hierarchy first, then objects before their users. */
export function writeTree(writer: ImageWriter, tree: CollectedTree, pages: readonly PlannedPages[]): void {
  for (const { task } of tree.processes) writer.record(RECORD.TASK, task.pid, task);
  for (const one of tree.exited) writer.record(RECORD.EXITED, one.pid, one);
  for (const { objref, state } of tree.mappedFiles) writer.record(RECORD.FNAME, objref, { state });
  for (const { objref, record } of tree.descriptions) writer.record(RECORD.FD_DATA, objref, record);
  for (const one of tree.processes) {
    const plans = pages.filter(({ objref }) => objref === one.task.memory).map(({ plan }) => plan);
    writeProcess(writer, one, plans);
  }
}

function writeProcess(writer: ImageWriter, process: CollectedTask, plans: readonly PagePlan[]): void {
  const { task, protectionKeys, localDescriptors } = process;
  const mappings = withPages(process.mappings, plans);
  writer.record(RECORD.FILES, task.files, process.files);
  writer.record(RECORD.MM, task.memory, {
    mappings: mappings.length,
    pages: pagesIn(plans),
    allocatedKeys: protectionKeys.allocated,
    executeOnlyKey: protectionKeys.executeOnly,
  });
  for (let index = 0; index < mappings.length; index += MAPPINGS_PER_RECORD) {
    writer.record(RECORD.VMA, task.memory, { mappings: mappings.slice(index, index + MAPPINGS_PER_RECORD) });
  }
  if (localDescriptors.length > 0) {
    writer.bytes(RECORD.MM_CONTEXT, task.memory, encodeMemoryContext(localDescriptors));
  }
  writer.record(RECORD.TASK_STATE, task.pid, { aspects: process.aspects });
  for (const thread of process.threads) {
    const { signalMask, waitedNs, aspects } = thread;
    writer.record(RECORD.THREAD_STATE, thread.tid, { signalMask, waitedNs, aspects });
    writer.bytes(RECORD.THREAD, thread.tid, encodeThread(thread.threadAreas));
    writer.bytes(RECORD.CPU, thread.tid, encodeCpu(thread.cpu));
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
