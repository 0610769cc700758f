/** Opening an image by name, and reading it forward. */
import type { KeyObject } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { isAddress } from '../support/address.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type ByteSource, ByteStream } from './byte-stream.ts';
import { EncryptedSource, type EncryptedSourceOptions } from './encrypted-source.ts';
import { ENVELOPE_START_SIZE, envelopeSize, isEnvelope, openEnvelope } from './envelope.ts';
import { cutImage } from './image-errors.ts';
import { noKeys } from './key-files.ts';
import type { ImageAccess } from './protection.ts';

export interface OpenedInput {
  readonly fd: number;
  /** Undefined for a stream. Of an encrypted file what it has on disk. */
  readonly sizeBytes: number | undefined;
  /** Of a stream: what has been read of it already. */
  readonly start?: Uint8Array;
  /** Undefined: it is not encrypted. */
  readonly encryption?: Encryption | undefined;
  /** Whoever must have signed it. */
  readonly signedBy?: KeyObject | undefined;
  /** Of a stream: called at its end; throws QuicksaveError if that came too early. */
  readonly onEnd?: (() => void) | undefined;
  close(): void;
}

export interface Encryption {
  /** Of its segments. */
  readonly key: Uint8Array;
  /** Where they begin. */
  readonly filePosition: number;
}

export interface OpenOptions {
  /** False: a FIFO that nobody writes to is opened all the same. */
  readonly waits?: boolean;
  readonly access?: ImageAccess | undefined;
}

/** Opens an image of this host by name; `-` is standard input. Throws QuicksaveError if the access is not enough for it. */
export function openInput(source: string, { waits = true, access = {} }: OpenOptions = {}): OpenedInput {
  return prepareInput(source, openByName(source, waits), { waits, access });
}

/** What is opened becomes what is read, as far as the access is enough for it; else it is closed. */
export function prepareInput(
  source: string,
  input: OpenedInput,
  { waits = true, access = {} }: OpenOptions = {},
): OpenedInput {
  const { signedBy } = access;
  try {
    if (access.ownOnly === true) refuseForeign(source, input);
    if (input.sizeBytes === undefined && !waits) return { ...input, signedBy };
    return { ...input, signedBy, ...startOf(source, input, access) };
  } catch (error) {
    input.close();
    throw error;
  }
}

/** Whoever can write an image decides what runs in its reader's name. */
function refuseForeign(source: string, { fd, sizeBytes }: OpenedInput): void {
  if (sizeBytes === undefined) return;
  const { uid } = fstatSync(fd);
  if (uid === process.geteuid?.()) return;
  throw new QuicksaveError(
    'not-yours',
    `The image ${source} belongs to user ${uid}, who would decide what runs in your name.`,
    { remedy: 'If you trust that user: --trust.' },
  );
}

/** The envelope of an encrypted image is read and opened; of a stream that has none its first bytes are kept. */
function startOf(
  source: string,
  { fd, sizeBytes, onEnd }: OpenedInput,
  { keys = noKeys }: ImageAccess,
): Pick<OpenedInput, 'start' | 'encryption'> {
  const stream = new ByteStream(sourceOf({ fd, sizeBytes, onEnd }));
  const start = new Uint8Array(ENVELOPE_START_SIZE);
  const length = stream.tryFill(start);
  if (!isEnvelope(start.subarray(0, length)))
    return sizeBytes === undefined ? { start: start.subarray(0, length) } : {};
  if (length < start.length) throw cutImage(length);
  const envelope = new Uint8Array(envelopeSize(start));
  envelope.set(start);
  stream.fill(envelope.subarray(start.length));
  const key = openEnvelope(envelope, keys);
  if (key !== undefined) return { encryption: { key, filePosition: envelope.length } };
  const isKeyless = keys.secrets.length + keys.privateKeys.length === 0;
  throw new QuicksaveError(
    isKeyless ? 'no-key' : 'wrong-key',
    `The image ${source} is encrypted, and ${isKeyless ? 'no key is given' : 'not for the key that is given'}.`,
    { remedy: 'Give its key: --key KEYFILE, or QUICKSAVE_KEY_FILE in the environment.' },
  );
}

function openByName(source: string, waits: boolean): OpenedInput {
  if (isAddress(source)) {
    throw new QuicksaveError('not-a-file', `The image ${source} is on another host, where nothing can be looked up.`, {
      remedy: 'Copy it into a file first, and give that.',
    });
  }
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

/**
 * The bytes of the plain image, read with read(2); only a file can be skipped in. A file is read by position: the descriptor's
 * own stays where it is.
 */
export function sourceOf(
  input: Pick<OpenedInput, 'fd' | 'sizeBytes' | 'start' | 'encryption' | 'onEnd'>,
  onPassedOver?: EncryptedSourceOptions['onPassedOver'],
): ByteSource {
  const { fd, sizeBytes, start = new Uint8Array(0), encryption, onEnd } = input;
  const { filePosition = 0 } = encryption ?? {};
  const stored =
    sizeBytes === undefined ? behind(start, streamSource(fd, onEnd)) : fileSource(fd, sizeBytes, filePosition);
  if (encryption === undefined) return stored;
  return new EncryptedSource(stored, { ...encryption, ...(onPassedOver === undefined ? {} : { onPassedOver }) });
}

/** `start`, and then what the source gives. */
export function behind(start: Uint8Array, source: ByteSource): ByteSource {
  let given = 0;
  return {
    read: (into) => {
      if (given === start.length) return source.read(into);
      const part = start.subarray(given, given + into.length);
      into.set(part);
      given += part.length;
      return part.length;
    },
  };
}

function streamSource(fd: number, onEnd: (() => void) | undefined): ByteSource {
  let hasEnded = false;
  return {
    read: (into) => {
      const length = hasEnded ? 0 : readSync(fd, into);
      if (length === 0 && !hasEnded && into.length > 0) {
        hasEnded = true;
        onEnd?.();
      }
      return length;
    },
  };
}

function fileSource(fd: number, sizeBytes: number, from: number): ByteSource {
  let position = from;
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
