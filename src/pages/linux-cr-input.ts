/**
 * A stream of 2008 as the input of a restart. Its pages stand between its other records, so all of it is read before anything
 * is planned: a file is mapped, a pipe goes into a file in memory first, as far as it is such a stream.
 */
import { writeSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import type { OpenedInput } from '../image/image-source.ts';
import type { ChunkRecord } from '../image/reader.ts';
import { newMemoryFile } from '../kernel/calls/descriptors.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import type { ReadMemory } from '../linux-cr/initial-stack.ts';
import { PAGE } from '../linux-cr/layout.ts';
import { readLinuxCr } from '../linux-cr/read-stream.ts';
import type { LinuxCrStream } from '../linux-cr/stream.ts';
import { type RestartSide, toImage } from '../linux-cr/to-image.ts';
import { localAddress } from '../support/brand.ts';
import type { ImageInput } from './image-input.ts';
import type { LoadChunk } from './load-job.ts';
import { storedPages } from './stored-pages.ts';

/** `source` gives the stream from its first byte. Without `side` the model has no states of the restart command's. */
export function readLinuxCrInput(opened: OpenedInput, source: ByteSource, side?: RestartSide): ImageInput {
  const { stream, image } = opened.sizeBytes === undefined ? spooled(source) : mapped(opened, source);
  try {
    const { model, chunks: records } = toImage(stream, memoryIn(stream, image), side);
    const chunks = records.map(loadChunk(image));
    return {
      model,
      chunks,
      loadPages: (target, crew) => {
        const pid = target.pidOf(model.root.task.memory);
        if (pid === undefined) throw new Error('the memory of the process is known');
        crew.load(chunks.map((chunk) => ({ ...chunk, pid })));
      },
      pages: (objref) => storedPages(chunks, objref),
      checkPages: () => ({
        imageBytes: stream.sizeBytes,
        records: stream.records,
        dataPages: chunks.reduce((pages, { rawBytes }) => pages + rawBytes / PAGE, 0),
        zeroPages: 0,
        parentPages: 0,
        relativePages: 0,
      }),
      close: () => image.free(),
    };
  } catch (error) {
    image.free();
    throw error;
  }
}

interface ReadStream {
  readonly stream: LinuxCrStream;
  readonly image: NativeMemory;
}

function mapped({ fd }: OpenedInput, source: ByteSource): ReadStream {
  const stream = readLinuxCr(source);
  return { stream, image: NativeMemory.mapFile(fd, stream.sizeBytes) };
}

/** Only what has been understood is kept: a program of 32 bits has no more than 4 GiB. */
function spooled(source: ByteSource): ReadStream {
  const file = newMemoryFile('quicksave');
  try {
    let position = 0;
    const stream = readLinuxCr({
      read: (into) => {
        const length = source.read(into);
        for (let done = 0; done < length; ) done += writeSync(file.number, into, done, length - done, position + done);
        position += length;
        return length;
      },
    });
    return { stream, image: NativeMemory.mapFile(file.number, stream.sizeBytes) };
  } finally {
    file.close();
  }
}

const memoryIn =
  (stream: LinuxCrStream, image: NativeMemory): ReadMemory =>
  (address, length) => {
    const bytes = Buffer.alloc(length);
    for (const span of stream.vmas.flatMap(({ spans }) => spans)) {
      const start = Math.max(address, span.address);
      const end = Math.min(address + length, span.address + span.pages * PAGE);
      if (start >= end) continue;
      const at = image.address + span.position + start - span.address;
      bytesAt(localAddress(at), end - start).copy(bytes, start - address);
    }
    return bytes;
  };

/** The format has no checksums: there is nothing to hold the bytes against. */
const loadChunk =
  (image: NativeMemory) =>
  ({ offset, objref, encoding, dataPosition, storedBytes, rawBytes, runs }: ChunkRecord): LoadChunk => ({
    offset,
    objref,
    headCrc: 0,
    crc: 0,
    encoding,
    dataAddress: image.address + dataPosition,
    storedBytes,
    rawBytes,
    runs,
  });
