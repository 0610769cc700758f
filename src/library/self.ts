/** A program that saves itself, as fork(2) makes two of one: one side goes on, the other comes back. */
import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { CheckpointSummary } from '../checkpoint/request.ts';
import { makePipe } from '../kernel/calls/pipes.ts';
import { rebuildError } from '../support/error-data.ts';
import { QuicksaveError } from '../support/errors.ts';
import { RESTARTED_STATUS } from '../support/restarted-status.ts';
import type { Order, Reply } from './messages.ts';

export interface SelfOptions {
  /** zstd level 1 to 19, or 0 for none; default: as much as the disk is slower than compressing. */
  readonly compress?: number;
  /** As for `checkpoint`. */
  readonly encrypt?: readonly string[];
  readonly sign?: string;
}

export type SelfResult =
  | {
      /** This is the side that goes on. */
      readonly restarted: false;
      /** Absolute path of the image. */
      readonly image: string;
      readonly summary: CheckpointSummary;
    }
  | {
      /** This is the side that was brought back from the image. */
      readonly restarted: true;
    };

/**
 * Saves this very process into a file. Resolves twice: in the process that goes on, and in each that is restarted from the
 * image.
 *
 * Rejects with RefusedError, which lists every reason, when the process cannot be saved: with open sockets or other
 * children, for instance. It goes on in any case.
 */
export async function checkpointSelf(file: string, options: SelfOptions = {}): Promise<SelfResult> {
  const image = resolve(file);
  const { pid } = process;
  const order: Order = {
    kind: 'checkpoint',
    pid,
    self: true,
    output: image,
    kill: false,
    compress: options.compress ?? 'auto',
    track: false,
    tcp: 'established',
    encrypt: options.encrypt,
    sign: options.sign,
  };
  const { child, reply } = startSaver(order);
  const [status, last] = await Promise.all([endOf(child), reply]);
  if (status === RESTARTED_STATUS) return { restarted: true };
  if (last?.kind === 'done') return { restarted: false, image, summary: last.summary as CheckpointSummary };
  if (last?.kind === 'failed') throw rebuildError(last.error);
  const how = child.signalCode === null ? `status ${status}` : child.signalCode;
  throw new QuicksaveError('internal', `The process that was to save this one ended early (${how}).`);
}

interface Saver {
  readonly child: ChildProcess;
  readonly reply: Promise<Reply | undefined>;
}

/** It answers through a plain pipe. What Node would make is a socket, which cannot be saved. */
function startSaver(order: Order): Saver {
  const program = fileURLToPath(new URL('./pipeline-process.js', import.meta.url));
  const { read, write } = makePipe();
  try {
    const stdio = ['ignore', 'ignore', 'inherit', write.number] as const;
    const child = spawn(process.execPath, [program, JSON.stringify(order)], { stdio: [...stdio] });
    return { child, reply: lastReply(new Socket({ fd: read.number, readable: true, writable: false })) };
  } catch (error) {
    read.close();
    throw error;
  } finally {
    write.close();
  }
}

/** In a restarted process nobody has the other end any more: it ends without a word, or with some that were on their way. */
async function lastReply(replies: Socket): Promise<Reply | undefined> {
  let last: Reply | undefined;
  createInterface({ input: replies }).on('line', (line) => {
    last = JSON.parse(line) as Reply;
  });
  await finished(replies).catch(() => undefined);
  return last;
}

const endOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((settle, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => settle(status));
  });
