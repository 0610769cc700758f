/** Opening an image by name, and reading it forward. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { QuicksaveError } from '../support/errors.ts';
import type { ByteSource } from './byte-stream.ts';

export interface OpenedInput {
  readonly fd: number;
  /** Undefined for a stream. */
  readonly sizeBytes: number | undefined;
  close(): void;
}

/** Opens an image by name; `-` is standard input. Without `waits` a FIFO that nobody writes to is opened all the same. */
export function openInput(source: string, { waits = true }: { waits?: boolean } = {}): OpenedInput {
  if (source === '-') return { fd: 0, sizeBytes: undefined, close: () => {} };
  let fd: number;
  try {
    fd = openSync(source, constants.O_RDONLY | (waits ? 0 : constants.O_NONBLOCK));
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code;
    throw new QuicksaveError('cannot-read', `The image ${source} cannot be opened: ${why}.`, { cause: error });
  }
  const stat = fstatSync(fd);
  if (stat.isDirectory()) {
    closeSync(fd);
    throw new QuicksaveError('cannot-read', `${source} is a folder, not an image.`);
  }
  return { fd, sizeBytes: stat.isFile() ? stat.size : undefined, close: () => closeSync(fd) };
}

/** Reads with read(2); only a file can be skipped in. A file is read by position: the descriptor's own stays where it is. */
export function sourceOf({ fd, sizeBytes }: Pick<OpenedInput, 'fd' | 'sizeBytes'>): ByteSource {
  if (sizeBytes === undefined) return { read: (into) => readSync(fd, into) };
  let position = 0;
  return {
    read: (into) => {
      const length = readSync(fd, into, 0, into.length, position);
      position += length;
      return length;
    },
    skip: (bytes) => {
      const length = Math.max(0, Math.min(bytes, sizeBytes - position));
      position += length;
      return length;
    },
  };
}
