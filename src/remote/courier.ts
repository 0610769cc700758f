/**
 * Our end of a courier: the process that carries an image to or from another host, while everything here is synchronous. See
 * courier-process.ts.
 *
 * Whatever ends us ends its input without the word that the image is whole, and then there is none at the other end.
 */
import { spawn } from 'node:child_process';
import { readSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { makePipe } from '../kernel/calls/pipes.ts';
import { waitForTask } from '../kernel/calls/wait.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { asTid } from '../support/brand.ts';
import { rebuildError } from '../support/error-data.ts';
import { QuicksaveError } from '../support/errors.ts';
import { COMMIT, type CourierOrder, type CourierReply } from './messages.ts';

const REPLY_BYTES = 64 * 1024;
const NEWLINE = '\n';

export class Courier {
  readonly #address: string;
  readonly #data: OwnedFd;
  readonly #replies: OwnedFd;
  readonly #word: OwnedFd;
  readonly #pid: number | undefined;
  #ahead: Buffer = Buffer.alloc(0);
  #failure: QuicksaveError | undefined;
  #isOver = false;

  /** Starts it, and returns when the other end is ready. Throws QuicksaveError if it does not get so far. */
  constructor(order: CourierOrder) {
    this.#address = order.address;
    const data = makePipe();
    const replies = makePipe();
    const word = makePipe();
    const [ours, theirs] = order.direction === 'put' ? [data.write, data.read] : [data.read, data.write];
    this.#data = ours;
    this.#replies = replies.read;
    this.#word = word.write;
    const ends =
      order.direction === 'put' ? ([theirs.number, 'ignore'] as const) : (['ignore', theirs.number] as const);
    const program = fileURLToPath(new URL('./courier-process.js', import.meta.url));
    // What it could say on standard error it says in its answers: a program that is saved may be at the other end of ours.
    const child = spawn(process.execPath, [program, JSON.stringify(order)], {
      stdio: [...ends, 'ignore', replies.write.number, word.read.number],
    });
    child.on('error', () => {
      // It says nothing then, which is enough.
    });
    child.unref();
    this.#pid = child.pid;
    for (const end of [theirs, replies.write, word.read]) end.close();
    this.#expect('ready');
  }

  /** The pipe that takes the image, or gives it. */
  get fd(): number {
    return this.#data.number;
  }

  /** Returns when the image is there, whole. */
  commit(): void {
    this.#data.close();
    try {
      writeSync(this.#word.number, COMMIT);
    } catch {
      // It has ended, and said why.
    }
    this.#expect('done');
    this.#awaitEnd();
  }

  /** There is to be no image, and nothing is left of it when this returns. Throws what has gone wrong before at the other end. */
  abandon(): void {
    if (!this.#isOver) {
      this.#data.close();
      this.#word.close();
      let reply = this.#next();
      while (reply?.kind === 'ready') reply = this.#next();
      if (reply?.kind !== 'abandoned') this.#failure = this.#failureOf(reply);
      this.#awaitEnd();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The pipe has given all that comes: throws if that is not all that there is. */
  readonly end = (): void => this.#expect('done');

  /** Reads no more, if there is more. */
  close(): void {
    this.#data.close();
    this.#word.close();
    this.#awaitEnd();
  }

  #expect(kind: CourierReply['kind']): void {
    if (this.#failure !== undefined) throw this.#failure;
    const reply = this.#next();
    if (reply?.kind === kind) return;
    this.#failure = this.#failureOf(reply);
    this.#awaitEnd();
    throw this.#failure;
  }

  #failureOf(reply: CourierReply | undefined): QuicksaveError {
    if (reply?.kind === 'failed') return rebuildError(reply.error);
    return new QuicksaveError('remote-failed', `What carries the image for ${this.#address} has ended early.`);
  }

  /** Undefined when it has ended. */
  #next(): CourierReply | undefined {
    const buffer = Buffer.alloc(REPLY_BYTES);
    while (!this.#ahead.includes(NEWLINE)) {
      const length = readSync(this.#replies.number, buffer);
      if (length === 0) return undefined;
      this.#ahead = Buffer.concat([this.#ahead, buffer.subarray(0, length)]);
    }
    const end = this.#ahead.indexOf(NEWLINE);
    const line = this.#ahead.toString('utf8', 0, end);
    this.#ahead = this.#ahead.subarray(end + 1);
    return JSON.parse(line) as CourierReply;
  }

  /**
   * It is reaped here, because the event loop may not run again before we end, and a program that is saved must not inherit it (as a
   * subreaper). libuv, which waits for it by its number too, takes ECHILD.
   */
  #awaitEnd(): void {
    this.#data.close();
    this.#word.close();
    if (this.#isOver) return;
    this.#isOver = true;
    while (this.#next() !== undefined);
    this.#replies.close();
    if (this.#pid !== undefined) waitForTask(asTid(this.#pid));
  }
}
