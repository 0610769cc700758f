/** The courier's end of the pipe that an image goes through. */

import { once } from 'node:events';
import { read } from 'node:fs';
import { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { COMMIT, WORD_FD } from './messages.ts';

const STANDARD_INPUT = 0;
const STANDARD_OUTPUT = 1;

export interface ImagePipe {
  /** The bytes of the image, to their end. */
  readonly bytes: () => AsyncIterable<Buffer>;
  /** After their end: whether that is the end of an image. */
  readonly isWhole: () => Promise<boolean>;
  /** Resolves when there is room for more. Rejects when nobody reads on. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Resolves when all has been taken. */
  readonly end: () => Promise<void>;
  /** Whoever reads wants no more. */
  readonly isForsaken: () => boolean;
}

export function imagePipe(): ImagePipe {
  let isForsaken = false;
  let opened: Socket | undefined;
  const output = (): Socket => {
    opened ??= new Socket({ fd: STANDARD_OUTPUT, readable: false, writable: true }).on('error', () => {
      isForsaken = true;
    });
    return opened;
  };
  return {
    bytes: () => new Socket({ fd: STANDARD_INPUT, readable: true, writable: false }),
    isWhole: async () => (await readWord()) === COMMIT,
    write: async (bytes) => {
      const stream = output();
      if (!stream.write(bytes)) await once(stream, 'drain');
    },
    end: async () => {
      const stream = output();
      stream.end();
      await finished(stream, { readable: false });
    },
    isForsaken: () => isForsaken,
  };
}

/** Empty when there is none. */
function readWord(): Promise<string> {
  return new Promise((resolve) => {
    read(WORD_FD, Buffer.alloc(1), 0, 1, null, (_error, length, bytes) => resolve(bytes.toString('utf8', 0, length)));
  });
}
