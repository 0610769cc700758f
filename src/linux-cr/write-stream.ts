/** Writes a stream of 2008, forward only. */

import type { DescriptorToWrite, StreamToWrite, VmaToWrite } from './from-image.ts';
import {
  ADDRESS_SIZE,
  CR_HDR,
  CR_SIZE,
  encodeFdData,
  encodeFdEntry,
  encodeFiles,
  encodeHead,
  encodeMm,
  encodePageCount,
  encodeRecord,
  encodeTail,
  encodeTask,
  encodeVma,
  PAGE,
  TASK_COMM_LEN,
} from './layout.ts';

/** Addresses of the pages to write in a mapping, ascending, and their bytes: valid until the next one is asked for. */
export interface PageSource {
  addressesIn(vma: VmaToWrite): Uint32Array;
  page(address: number): Uint8Array;
}

/** The most pages that the original put into one chunk: 16 MiB. */
export const MAX_CHUNK_PAGES = 4096;
/** In the original a task that saves itself is running; the one that is restarted runs. */
const TASK_RUNNING = 0;
const SIGCHLD = 17;

export interface WrittenStream {
  readonly records: number;
  readonly pages: number;
  readonly sizeBytes: number;
}

export function writeLinuxCr(
  stream: StreamToWrite,
  pages: PageSource,
  write: (bytes: Uint8Array) => void,
): WrittenStream {
  const writer = new StreamWriter(write);
  const { pid } = stream;
  writer.record(CR_HDR.HEAD, 0, encodeHead(stream.head));
  const exit = { exitState: 0, exitCode: 0, exitSignal: SIGCHLD };
  writer.record(CR_HDR.TASK, 0, encodeTask({ state: TASK_RUNNING, ...exit, commLength: TASK_COMM_LEN }));
  const comm = Buffer.alloc(TASK_COMM_LEN);
  comm.write(stream.comm, 0, TASK_COMM_LEN - 1, 'latin1');
  writer.record(CR_HDR.STRING, 0, comm);
  const { fields, vmas } = stream;
  writer.record(CR_HDR.MM, pid, encodeMm({ objref: 0, mapCount: vmas.length, fields }));
  for (const vma of vmas) writer.vma(vma, pages);
  writer.withTable(CR_HDR.MM_CONTEXT, 0, stream.memoryContext, CR_SIZE.MM_CONTEXT);
  writer.record(CR_HDR.FILES, pid, encodeFiles(0, stream.descriptors.length));
  for (const descriptor of stream.descriptors) writer.descriptor(descriptor);
  writer.withTable(CR_HDR.THREAD, pid, stream.thread, CR_SIZE.THREAD);
  writer.record(CR_HDR.CPU, pid, stream.cpu);
  writer.record(CR_HDR.TAIL, 0, encodeTail());
  writer.flush();
  return { records: writer.records, pages: writer.pages, sizeBytes: writer.sizeBytes };
}

const BUFFER_BYTES = 1024 * 1024;

class StreamWriter {
  records = 0;
  pages = 0;
  sizeBytes = 0;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #filled = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  record(type: number, parent: number, payload: Uint8Array): void {
    this.records += 1;
    this.#put(encodeRecord(type, parent, payload));
  }

  /** The table stands behind the payload, outside of the record's length. */
  withTable(type: number, parent: number, bytes: Uint8Array, payloadSize: number): void {
    this.record(type, parent, bytes.subarray(0, payloadSize));
    this.#put(bytes.subarray(payloadSize));
  }

  vma(vma: VmaToWrite, source: PageSource): void {
    this.record(CR_HDR.VMA, 0, encodeVma(vma));
    if (vma.name !== undefined) this.#name(vma.name);
    const addresses = source.addressesIn(vma);
    for (let first = 0; first < addresses.length; first += MAX_CHUNK_PAGES) {
      const chunk = addresses.subarray(first, first + MAX_CHUNK_PAGES);
      this.record(CR_HDR.PGARR, 0, encodePageCount(chunk.length));
      const list = Buffer.alloc(chunk.length * ADDRESS_SIZE);
      chunk.forEach((address, index) => {
        list.writeUInt32LE(address, index * ADDRESS_SIZE);
      });
      this.#put(list);
      for (const address of chunk) this.#put(source.page(address).subarray(0, PAGE));
      this.pages += chunk.length;
    }
    this.record(CR_HDR.PGARR, 0, encodePageCount(0));
  }

  descriptor(descriptor: DescriptorToWrite): void {
    const { objref, description } = descriptor;
    this.record(CR_HDR.FD_ENT, 0, encodeFdEntry(descriptor));
    if (description === undefined) return;
    this.record(CR_HDR.FD_DATA, objref, encodeFdData(description));
    this.#name(description.name);
  }

  #name(name: string): void {
    this.record(CR_HDR.FNAME, 0, Buffer.from(`${name}\0`));
  }

  #put(bytes: Uint8Array): void {
    this.sizeBytes += bytes.length;
    for (let done = 0; done < bytes.length; ) {
      if (this.#filled === BUFFER_BYTES) this.flush();
      const part = bytes.subarray(done, done + BUFFER_BYTES - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      done += part.length;
    }
  }

  flush(): void {
    this.#write(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
