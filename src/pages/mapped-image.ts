/** An image file in our memory: its metadata read and checked, its page chunks described, their bytes not looked at yet. */
import type { ByteSource } from '../image/byte-stream.ts';
import type { SegmentPlace } from '../image/encrypted-source.ts';
import { headerChecksum, RECORD_HEADER_SIZE } from '../image/frame.ts';
import { badRecord, misuse } from '../image/image-errors.ts';
import { type Encryption, type OpenedInput, sourceOf } from '../image/image-source.ts';
import { type ImageModel, ModelBuilder } from '../image/model.ts';
import { type ChunkRecord, ImageReader, type MetadataRecord } from '../image/reader.ts';
import { recordLabel } from '../image/record-types.ts';
import type { Signature } from '../image/signature.ts';
import { bytesAt, NativeMemory } from '../kernel/native-memory.ts';
import { localAddress } from '../support/brand.ts';
import { crc32c } from '../support/checksum.ts';
import { ImageError, QuicksaveError } from '../support/errors.ts';
import type { LoadChunk } from './load-job.ts';
import type { PageCrew } from './page-crew.ts';

export interface MappedImage {
  readonly model: ImageModel;
  readonly chunks: readonly LoadChunk[];
  readonly sizeBytes: number;
  readonly records: number;
  readonly signature: Signature | undefined;
  close(): void;
}

/** Checks the data of all chunks; gives their SHA-256 digests if they are wanted. */
export type CheckChunks = (chunks: readonly LoadChunk[], digesting: boolean) => readonly Uint8Array[];

export const checkedBy =
  (crew: PageCrew, options: { readonly unpacks?: boolean | undefined } = {}): CheckChunks =>
  (chunks, digesting) => {
    if (digesting) return crew.verifyAndDigest(chunks, options);
    crew.verify(chunks, options);
    return [];
  };

/**
 * `check` is given the chunks before what they say of pages is held against the rest. Without it they are not looked at yet, unless
 * the image has to be signed.
 */
export function mapImage(opened: OpenedInput, crew: PageCrew, check?: CheckChunks): MappedImage {
  const { fd, sizeBytes, signedBy, encryption } = opened;
  if (sizeBytes === undefined) throw misuse('a stream was to be mapped');
  if (sizeBytes === 0) throw new QuicksaveError('not-an-image', 'This is not a quicksave image: the file is empty.');
  const image = NativeMemory.mapFile(fd, sizeBytes);
  try {
    const segments = new Map<number, SegmentPlace>();
    const source = encryption === undefined ? mappedSource(image, sizeBytes) : sourceOf(opened, noteIn(segments));
    const reader = new ImageReader(source, { pageData: 'skip', signedBy });
    const builder = new ModelBuilder();
    const chunks: LoadChunk[] = [];
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') {
        if (chunks.length > 0) throw lateRecord(record);
        builder.add(record);
      } else {
        builder.addChunk(record);
        chunks.push({ ...describeChunk(record), ...placeOfData(record, image, encryption, segments) });
      }
    }
    const checkAll = check ?? (signedBy === undefined ? undefined : checkedBy(crew));
    const digests = checkAll?.(chunks, signedBy !== undefined);
    if (digests !== undefined) reader.checkSignature(digests);
    const model = builder.finish();
    builder.finishPages();
    return {
      model,
      chunks,
      sizeBytes,
      records: reader.recordCount + 1,
      signature: reader.signature,
      close: () => image.free(),
    };
  } catch (error) {
    image.free();
    throw error;
  }
}

const noteIn =
  (segments: Map<number, SegmentPlace>) =>
  (place: SegmentPlace): void => {
    segments.set(place.position, place);
  };

function mappedSource(image: NativeMemory, sizeBytes: number): ByteSource {
  let position = 0;
  return {
    read: (into) => {
      const length = Math.min(into.length, sizeBytes - position);
      if (length > 0) into.set(bytesAt(localAddress(image.address + position), length));
      position += length;
      return length;
    },
    skip: (bytes) => {
      const length = Math.min(bytes, sizeBytes - position);
      position += length;
      return length;
    },
  };
}

function describeChunk(chunk: ChunkRecord): Omit<LoadChunk, 'dataAddress' | 'segment'> {
  const { offset, objref, headerBytes, crc, encoding, storedBytes, rawBytes, runs } = chunk;
  const headCrc = crc32c(headerBytes.subarray(RECORD_HEADER_SIZE), headerChecksum(headerBytes));
  return { offset, objref, headCrc, crc, encoding, storedBytes, rawBytes, runs };
}

function placeOfData(
  { dataPosition, storedBytes, type, offset }: ChunkRecord,
  image: NativeMemory,
  encryption: Encryption | undefined,
  segments: ReadonlyMap<number, SegmentPlace>,
): Pick<LoadChunk, 'dataAddress' | 'segment'> {
  if (encryption === undefined) return { dataAddress: image.address + dataPosition };
  if (storedBytes === 0) return { dataAddress: image.address };
  const place = segments.get(dataPosition);
  if (place?.length !== storedBytes) {
    throw badRecord(recordLabel(type, offset), 'its data is not one encrypted segment', offset);
  }
  return {
    dataAddress: image.address + place.filePosition,
    segment: { key: encryption.key, position: dataPosition },
  };
}

/** What has been planned must be all that there is. */
export const lateRecord = ({ type, offset }: MetadataRecord): ImageError =>
  new ImageError('bad-record', `${recordLabel(type, offset)}: it comes behind the pages.`, { offset });
