/** An image file in our memory: its metadata read and checked, its page chunks described, their bytes not looked at yet. */
import { headerChecksum, RECORD_HEADER_SIZE } from '../image/frame.ts';
import { type ImageModel, ModelBuilder } from '../image/model.ts';
import { type ChunkRecord, ImageReader, type MetadataRecord } from '../image/reader.ts';
import { recordLabel } from '../image/record-types.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { localAddress } from '../support/brand.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import type { LoadChunk } from './load-job.ts';

export interface MappedImage {
  readonly model: ImageModel;
  readonly chunks: readonly LoadChunk[];
  readonly sizeBytes: number;
  readonly records: number;
  close(): void;
}

/** `check` is given the chunks before what they say of pages is held against the rest. */
export function mapImage(fd: number, sizeBytes: number, check: (chunks: readonly LoadChunk[]) => void): MappedImage {
  if (sizeBytes === 0) throw new QuicksaveError('not-an-image', 'This is not a quicksave image: the file is empty.');
  const image = NativeMemory.mapFile(fd, sizeBytes);
  try {
    const reader = readerOf(image, sizeBytes);
    const builder = new ModelBuilder();
    const chunks: LoadChunk[] = [];
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') {
        if (chunks.length > 0) throw lateRecord(record);
        builder.add(record);
      } else {
        builder.addChunk(record);
        chunks.push(describeChunk(record, image));
      }
    }
    check(chunks);
    const model = builder.finish();
    builder.finishPages();
    return {
      model,
      chunks,
      sizeBytes: reader.position,
      records: reader.recordCount + 1,
      close: () => image.free(),
    };
  } catch (error) {
    image.free();
    throw error;
  }
}

function readerOf(image: NativeMemory, sizeBytes: number): ImageReader {
  let position = 0;
  const source = {
    read: (into: Uint8Array): number => {
      const length = Math.min(into.length, sizeBytes - position);
      if (length > 0) into.set(bytesAt(localAddress(image.address + position), length));
      position += length;
      return length;
    },
    skip: (bytes: number): number => {
      const length = Math.min(bytes, sizeBytes - position);
      position += length;
      return length;
    },
  };
  return new ImageReader(source, { pageData: 'skip' });
}

function describeChunk(chunk: ChunkRecord, image: NativeMemory): LoadChunk {
  const payloadPosition = chunk.offset + RECORD_HEADER_SIZE;
  return {
    offset: chunk.offset,
    objref: chunk.objref,
    payloadAddress: image.address + payloadPosition,
    payloadBytes: chunk.dataPosition - payloadPosition + chunk.storedBytes,
    headerCrc: headerChecksum(chunk.headerBytes),
    crc: chunk.crc,
    encoding: chunk.encoding,
    dataAddress: image.address + chunk.dataPosition,
    storedBytes: chunk.storedBytes,
    rawBytes: chunk.rawBytes,
    runs: chunk.runs,
  };
}

/** What has been planned must be all that there is. */
export const lateRecord = ({ type, offset }: MetadataRecord): ImageError =>
  new ImageError('bad-record', `${recordLabel(type, offset)}: it comes behind the pages.`, { offset });
