/**
 * HEAD, the first record: readable alone, so that a reader knows the version and the needs of an image before it decodes
 * anything else. Its frame, its first 16 bytes and its checksum stay as they are in every version of the format.
 */
import * as v from 'valibot';
import { ImageError } from '../support/errors.ts';
import { decodeCbor, encodeCbor } from './cbor.ts';
import { viewOf } from './frame.ts';
import { badRecord, notAnImage } from './image-errors.ts';
import { RECORD, recordLabel } from './record-types.ts';
import { boundedArray, boundedString, count, parseState, u32, u64 } from './schema.ts';

export const FORMAT_VERSION = 1;
/**
 * 9e 51 53 49 4d 0d 0a 1a in the stream. The first byte is beyond ASCII and alone invalid in UTF-8, so no text looks like it; the
 * line ends show a transfer that "mended" them.
 */
export const HEAD_MAGIC = 0x1a0a_0d4d_4953_519en;
export const HEAD_PREFIX_SIZE = 16;
/** A HEAD is some hundreds of bytes. */
export const MAX_HEAD_SIZE = 64 * 1024;

const xstateComponent = v.object({ index: u32, offset: u32, size: u32, name: boundedString(64) });

const cpuState = v.object({
  vendor: boundedString(64),
  features: boundedArray(boundedString(64), 2048),
  xcr0: u64,
  /** Bytes of the whole XSAVE area. */
  xstateSize: u32,
  components: boundedArray(xstateComponent, 64),
});

/** Fields that this version does not know are passed over: HEAD must be readable by older readers. */
export const HeadState = v.object({
  imageId: boundedString(64),
  /** Only in an incremental image: the image that it builds on. */
  parentId: v.optional(boundedString(64)),
  tool: boundedString(128),
  /** Milliseconds since 1970, UTC. */
  createdAt: count,
  kernel: v.object({ release: boundedString(64), version: boundedString(64), machine: boundedString(64) }),
  pageSize: v.literal(4096),
  cpu: cpuState,
});

export type HeadState = v.InferOutput<typeof HeadState>;

export interface Head {
  readonly formatVersion: number;
  readonly state: HeadState;
}

export function encodeHead(state: HeadState): Uint8Array {
  const cbor = encodeCbor(state);
  const payload = new Uint8Array(HEAD_PREFIX_SIZE + cbor.length);
  const view = viewOf(payload);
  view.setBigUint64(0, HEAD_MAGIC, true);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, cbor.length, true);
  payload.set(cbor, HEAD_PREFIX_SIZE);
  return payload;
}

export function decodeHead(payload: Uint8Array): Head {
  const formatVersion = checkHeadVersion(payload);
  const label = recordLabel(RECORD.HEAD, 0);
  if (viewOf(payload).getUint32(12, true) !== payload.length - HEAD_PREFIX_SIZE) {
    throw badRecord(label, 'its length does not agree with its content', 0);
  }
  return { formatVersion, state: parseState(HeadState, decodeCbor(payload.subarray(HEAD_PREFIX_SIZE), label), label) };
}

/** Returns the format version, if it is one that we read. */
export function checkHeadVersion(payload: Uint8Array): number {
  if (!startsWithMagic(payload)) throw notAnImage('its first record has another magic number');
  const version = viewOf(payload).getUint32(8, true);
  if (version === 0) throw badRecord(recordLabel(RECORD.HEAD, 0), 'its format version is 0', 0);
  if (version <= FORMAT_VERSION) return version;
  throw new ImageError(
    'newer-format',
    `This image has format version ${version}; this quicksave reads up to ${FORMAT_VERSION}.`,
    { offset: 0, remedy: 'Use a newer quicksave.' },
  );
}

export const startsWithMagic = (payload: Uint8Array): boolean =>
  payload.length >= HEAD_PREFIX_SIZE && viewOf(payload).getBigUint64(0, true) === HEAD_MAGIC;
