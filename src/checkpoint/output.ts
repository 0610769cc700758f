/**
 * Where the image goes. A file appears under its name only when it is complete and on disk: until then it has no name at
 * all (O_TMPFILE), or where the file system cannot do that, one that ends in `.partial`, which no command accepts.
 */
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { nameUnnamedFile, writeAll } from '../kernel/calls/file-io.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import { localFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';

export interface Output {
  readonly fd: number;
  /** Bytes may be written at any position. False for pipes. */
  readonly positioned: boolean;
  /** Writes metadata at `position` (or in order). */
  write(bytes: Uint8Array, position: number): void;
  /** Makes the image durable and gives it its name. */
  commit(): void;
  /** Leaves nothing behind. */
  abandon(): void;
}

const O_TMPFILE = 0o20200000;
const PRIVATE = 0o600;
const BUFFER_BYTES = 256 * 1024;

class Writer {
  readonly #fd: number;
  readonly #positioned: boolean;
  readonly #buffer = NativeMemory.allocate(BUFFER_BYTES, { populate: true });

  constructor(fd: number, positioned: boolean) {
    this.#fd = fd;
    this.#positioned = positioned;
  }

  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; done += BUFFER_BYTES) {
      const part = bytes.subarray(done, done + BUFFER_BYTES);
      this.#buffer.bytes.set(part);
      const at = this.#positioned ? position + done : undefined;
      writeAll(localFd(this.#fd), at, [{ address: this.#buffer.address, sizeBytes: part.length }]);
    }
  }
}

/** An image to standard output or any other stream that is open already. */
export function streamOutput(fd: number): Output {
  const writer = new Writer(fd, false);
  return {
    fd,
    positioned: false,
    write: (bytes, position) => writer.write(bytes, position),
    commit: () => {
      // The reader of the stream has the image; TAIL tells it that it is complete.
    },
    abandon: () => {
      // What was written ends without TAIL, which every reader refuses.
    },
  };
}

/** Takes everything and keeps nothing. */
export const discardingOutput: Output = {
  get fd(): number {
    discarded ??= openSync('/dev/null', 'w');
    return discarded;
  },
  positioned: false,
  write: () => {
    // Gone.
  },
  commit: () => {
    // There is nothing to keep.
  },
  abandon: () => {
    // There is nothing to take back.
  },
};
let discarded: number | undefined;

/** An image at `path`: a file that appears when it is complete, or a stream into the pipe or device that is there. */
export function outputTo(path: string): Output {
  const there = tryStat(path);
  if (there?.isDirectory()) {
    throw new QuicksaveError('cannot-write', `${path} is a folder.`, { remedy: 'Give the name of a file in it.' });
  }
  if (there === undefined || there.isFile()) return fileOutput(path);
  const fd = openSync(path, constants.O_WRONLY);
  const stream = streamOutput(fd);
  return { ...stream, commit: () => closeSync(fd), abandon: () => closeSync(fd) };
}

function fileOutput(path: string): Output {
  const folder = dirname(path);
  if (!tryStat(folder)?.isDirectory()) {
    throw new QuicksaveError('no-folder', `The folder ${folder} does not exist.`, {
      remedy: `Make it: mkdir -p ${folder}`,
    });
  }
  const partial = join(folder, `.${basename(path)}.${process.pid}.partial`);
  const { fd, named } = openUnnamed(folder, partial);
  const writer = new Writer(fd, true);
  return {
    fd,
    positioned: true,
    write: (bytes, position) => writer.write(bytes, position),
    commit: () => {
      fsyncSync(fd);
      // A name that is taken cannot be linked to, only renamed over.
      if (!named) nameUnnamedFile(localFd(fd), partial);
      renameSync(partial, path);
      syncFolder(folder);
      closeSync(fd);
    },
    abandon: () => {
      closeSync(fd);
      rmSync(partial, { force: true });
    },
  };
}

function openUnnamed(folder: string, partial: string): { fd: number; named: boolean } {
  const readWrite = constants.O_RDWR;
  try {
    return { fd: openSync(folder, readWrite | O_TMPFILE, PRIVATE), named: false };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EOPNOTSUPP' && code !== 'EISDIR' && code !== 'ENOENT') throw describeOpenFailure(error, folder);
  }
  try {
    return { fd: openSync(partial, readWrite | constants.O_CREAT | constants.O_EXCL, PRIVATE), named: true };
  } catch (error) {
    throw describeOpenFailure(error, folder);
  }
}

function describeOpenFailure(cause: unknown, folder: string): QuicksaveError {
  const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
  return new QuicksaveError('cannot-write', `No image can be written into ${folder} (${code}).`, { cause });
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
