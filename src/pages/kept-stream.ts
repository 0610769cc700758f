/** A stream that is kept in memory, because what comes in it has to be looked up. */
import { writeSync } from 'node:fs';
import type { ByteSource } from '../image/byte-stream.ts';
import { behind, type OpenedInput, sourceOf } from '../image/image-source.ts';
import { isCut, type LookThroughOptions } from '../image/look-through.ts';
import { newMemoryFile } from '../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';

const STEP = 1024 * 1024;

/** Copies all that comes into a file; returns how many bytes that were. */
export function keepStream(file: OwnedFd, source: ByteSource, { showsCut = false }: LookThroughOptions = {}): number {
  const buffer = new Uint8Array(STEP);
  let position = 0;
  const next = showsCut ? () => readUpToCut(source, buffer) : () => source.read(buffer);
  for (let length = next(); length > 0; length = next()) {
    for (let done = 0; done < length; ) done += writeSync(file.number, buffer, done, length - done, position + done);
    position += length;
  }
  return position;
}

/** What comes as a stream in a file in memory, so that it can be looked up in; the input itself where it is a file. */
export function keptInput(opened: OpenedInput, source: ByteSource = sourceOf(opened)): KeptInput {
  const isEncrypted = opened.encryption !== undefined;
  if (opened.sizeBytes !== undefined) return { ...opened, sizeBytes: opened.sizeBytes, isEncrypted, close: () => {} };
  const file = newMemoryFile('quicksave');
  try {
    const sizeBytes = keepStream(file, source);
    return { fd: file.number, sizeBytes, isEncrypted, signedBy: opened.signedBy, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

export interface KeptInput extends OpenedInput {
  readonly sizeBytes: number;
  /** Also where it is kept as it is when it is open. */
  readonly isEncrypted: boolean;
}

/** A stream of encrypted segments tells itself where it was cut: what came before is authentic. */
function readUpToCut(source: ByteSource, buffer: Uint8Array): number {
  try {
    return source.read(buffer);
  } catch (error) {
    if (isCut(error)) return 0;
    throw error;
  }
}

export interface RecordedSource extends ByteSource {
  /** All that has been read so far, and then the rest. */
  fromStart(): ByteSource;
  /** Keeps nothing more. */
  forget(): void;
}

/** Keeps what is read of a stream, until it is known whether it is needed again. */
export function recorded(source: ByteSource): RecordedSource {
  let keeps = true;
  let kept: Uint8Array[] = [];
  return {
    read: (into) => {
      const length = source.read(into);
      // A copy: slice() of a Buffer is none.
      if (keeps) kept.push(Uint8Array.from(into.subarray(0, length)));
      return length;
    },
    fromStart: () => {
      keeps = false;
      const start = Buffer.concat(kept);
      kept = [];
      return behind(start, source);
    },
    forget: () => {
      keeps = false;
      kept = [];
    },
  };
}
