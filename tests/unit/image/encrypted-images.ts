/** Images encrypted and signed in memory, as a save writes them. */
import type { Output } from '../../../src/checkpoint/output.ts';
import { ImageStream } from '../../../src/checkpoint/write-image.ts';
import type { ByteSource } from '../../../src/image/byte-stream.ts';
import { EncryptedSource } from '../../../src/image/encrypted-source.ts';
import { envelopeSize, openEnvelope } from '../../../src/image/envelope.ts';
import type { Keyring } from '../../../src/image/key-files.ts';
import type { Protection } from '../../../src/image/protection.ts';
import { RECORD } from '../../../src/image/record-types.ts';
import { SEGMENT_OVERHEAD } from '../../../src/image/segment.ts';
import { MemorySource, recordSpans } from './streams.ts';

/** A file that is in memory only. */
export class MemoryOutput implements Output {
  readonly fd = -1;
  readonly positioned: boolean = true;
  bytes = Buffer.alloc(0);

  write(bytes: Uint8Array, position: number): void {
    if (position !== this.bytes.length) throw new Error(`written at ${position}, not at ${this.bytes.length}`);
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  commit(): void {
    throw new Error('nobody keeps it');
  }

  abandon(): void {
    throw new Error('nobody has it');
  }
}

/** Writes the records of a plain image anew. */
export function rewritten(plain: Uint8Array, protection: Protection): Buffer {
  const output = new MemoryOutput();
  const stream = new ImageStream(output, protection);
  for (const { start, end } of recordSpans(plain)) {
    const record = plain.subarray(start, end);
    if (record[0] !== (RECORD.TAIL & 0xff) || record[1] !== RECORD.TAIL >> 8) stream.writer.sealed(record);
  }
  stream.end();
  return output.bytes;
}

export interface Parts {
  readonly envelope: Buffer;
  /** With header and tag each. */
  readonly segments: readonly Buffer[];
}

export function partsOf(image: Buffer): Parts {
  const size = envelopeSize(image);
  const segments: Buffer[] = [];
  for (let at = size; at < image.length; ) {
    const end = at + image.readUInt32LE(at) + SEGMENT_OVERHEAD;
    segments.push(image.subarray(at, end));
    at = end;
  }
  return { envelope: image.subarray(0, size), segments };
}

/** The plain bytes, or an ImageError. Undefined: the keys do not open it. */
export function decrypted(image: Uint8Array, keys: Keyring, step?: number): Buffer | undefined {
  const size = envelopeSize(image);
  const key = openEnvelope(image.subarray(0, size), keys);
  if (key === undefined) return undefined;
  const stored = new MemorySource(image.subarray(size), step);
  const source: ByteSource = new EncryptedSource({ read: (into) => stored.read(into) }, { key, filePosition: size });
  const parts: Buffer[] = [];
  for (;;) {
    const buffer = Buffer.alloc(1000);
    const length = source.read(buffer);
    if (length === 0) return Buffer.concat(parts);
    parts.push(buffer.subarray(0, length));
  }
}
