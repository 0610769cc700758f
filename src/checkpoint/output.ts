/**
 * Where the image goes. A file appears under its name only when it is complete and on disk: until then it has no name at
 * all (O_TMPFILE), or where the file system cannot do that, one that ends in `.partial`, which no command accepts.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { nameUnnamedFile, writeAll } from '../kernel/calls/file-io.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import { localFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';

export interface Output {
  readonly fd: number;
  /** The file that appears at the end, and may be there already. */
  readonly path?: string;
  /** Bytes may be written at any position. False for pipes. */
  readonly positioned: boolean;
  /** A stream that a process of ours takes away to another host. */
  readonly isCarried?: boolean;
  /** Writes metadata at `position` (or in order). */
  write(bytes: Uint8Array, position: number): void;
  /** Makes the image durable and gives it its name. */
  commit(): void;
  /** Leaves nothing behind. Throws what the other end has said, if that is why there is no image. */
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
      // The reader of a pipe has the image, and TAIL tells it that it is complete. A file (`-o - > FILE`) has to be on disk.
      if (tryFstat(fd)?.isFile()) committing('The image could not be written to disk', () => fsyncSync(fd));
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
  if (there?.isDirectory() || path.endsWith('/')) {
    throw new QuicksaveError('cannot-write', `${path} is a folder.`, { remedy: 'Give the name of a file in it.' });
  }
  if (basename(path) === '' || Buffer.byteLength(basename(path)) > NAME_MAX) {
    throw new QuicksaveError('cannot-write', `"${path}" cannot be the name of a file.`, {
      remedy: 'Give another one.',
    });
  }
  const name = behindLinks(path);
  const named = tryStat(name);
  if (there === undefined || (there.isFile() && named?.ino === there.ino && named.dev === there.dev)) {
    return fileOutput(name);
  }
  // A pipe, a device, or a file without a name behind a link of /proc.
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_TRUNC);
  } catch (error) {
    throw describeOpenFailure(error, path);
  }
  const stream = streamOutput(fd);
  const commit = (): void => {
    stream.commit();
    closeSync(fd);
  };
  return { ...stream, commit, abandon: () => closeSync(fd) };
}

/** Of a file's name, in bytes, on every common file system. */
const NAME_MAX = 255;
/** The kernel follows as many (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * A link stays where it is and what it leads to is replaced: `/dev/stdout` leads to the caller's own file. A link to
 * nothing yet is followed as open(2) with O_CREAT would.
 */
function behindLinks(path: string): string {
  let found = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const target = tryReadLink(found);
    if (target === undefined) return found;
    found = resolve(dirname(found), target);
  }
  throw new QuicksaveError('cannot-write', `${path} is a link that leads round in a circle.`);
}

function tryReadLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function tryFstat(fd: number): Stats | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

function fileOutput(path: string): Output {
  const folder = dirname(path);
  if (!tryStat(folder)?.isDirectory()) {
    throw new QuicksaveError('no-folder', `The folder ${folder} does not exist.`, {
      remedy: `Make it: mkdir -p ${folder}`,
    });
  }
  // Short, because the name of the image may be as long as a name can be; and nobody's, whoever else saves into the folder.
  const partial = join(folder, `.quicksave.${randomBytes(6).toString('hex')}.partial`);
  const { fd, named } = openUnnamed(folder, partial);
  const writer = new Writer(fd, true);
  return {
    fd,
    path,
    positioned: true,
    write: (bytes, position) => writer.write(bytes, position),
    commit: () => {
      committing(`The image could not be finished: ${path}`, () => {
        fsyncSync(fd);
        // A name that is taken cannot be linked to, only renamed over.
        if (!named) nameUnnamedFile(localFd(fd), partial);
        renameSync(partial, path);
      });
      committing(`The image is complete, but a crash of this host may lose its name: ${folder}`, () =>
        syncFolder(folder),
      );
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

/** What the disk refuses at the last moment. */
function committing(sentence: string, finish: () => void): void {
  try {
    finish();
  } catch (cause) {
    if (cause instanceof QuicksaveError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new QuicksaveError('cannot-write', `${sentence} (${code}).`, { cause });
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
