/** A process tree that stands still, so that its registers and memory can be read together, without saving it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { StillProcess } from '../checkpoint/look.ts';
import { rebuildError } from '../support/error-data.ts';
import { QuicksaveError } from '../support/errors.ts';
import { REPLY_FD, type StillOrder, type StillReply } from './messages.ts';

export interface Frozen {
  /** The root first, parents before their children. */
  readonly processes: readonly StillProcess[];
  /** Bytes of the memory of one process of the tree, the root by default. Rejects where there is no memory. */
  readonly readMemory: (address: number, length: number, pid?: number) => Promise<Buffer>;
  /** Lets the tree go on. It also goes on when this program ends, however it does. */
  readonly release: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/**
 * Makes a process and its descendants stand still until `release`, or the end of the block with `await using`.
 *
 * Rejects with QuicksaveError where that is not possible; everything goes on then.
 */
export async function freeze(pid: number): Promise<Frozen> {
  const still = new Still(pid);
  const first = await still.reply();
  if (first.kind !== 'still') throw still.failure(first);
  const root = first.processes[0]?.pid ?? pid;
  const release = (): Promise<void> => still.end();
  return {
    processes: first.processes,
    readMemory: (address, length, owner = root) => still.readAll({ pid: owner, address, length }),
    release,
    [Symbol.asyncDispose]: release,
  };
}

const PIECE = 1024 * 1024;

/** Answers come in the order of the orders. */
class Still {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #waiting: ((reply: StillReply | undefined) => void)[] = [];
  readonly #replies: StillReply[] = [];
  readonly #lines: Interface;
  #isOver = false;

  constructor(pid: number) {
    const program = fileURLToPath(new URL('./still-process.js', import.meta.url));
    this.#child = spawn(process.execPath, [program, String(pid)], { stdio: ['pipe', 'ignore', 'inherit', 'pipe'] });
    this.#child.stdin?.on('error', () => {
      // It has ended, which the missing answer says.
    });
    this.#lines = createInterface({ input: this.#child.stdio[REPLY_FD] as Readable });
    this.#lines.on('line', (line) => {
      const reply = JSON.parse(line) as StillReply;
      const next = this.#waiting.shift();
      if (next === undefined) this.#replies.push(reply);
      else next(reply);
    });
    this.#ended = new Promise((resolve) => {
      const over = (): void => {
        this.#isOver = true;
        for (const next of this.#waiting.splice(0)) next(undefined);
        resolve();
      };
      this.#lines.once('close', over);
      this.#child.once('error', over);
    });
  }

  async reply(): Promise<StillReply> {
    const found = this.#replies.shift() ?? (await this.#next());
    return found ?? { kind: 'released' };
  }

  #next(): Promise<StillReply | undefined> {
    return this.#isOver ? Promise.resolve(undefined) : new Promise((resolve) => void this.#waiting.push(resolve));
  }

  /** A large piece of memory comes in several answers. */
  async readAll({ pid, address, length }: StillOrder): Promise<Buffer> {
    const parts: Promise<Buffer>[] = [];
    for (let done = 0; done < length; done += PIECE) {
      parts.push(this.#read({ pid, address: address + done, length: Math.min(PIECE, length - done) }));
    }
    return Buffer.concat(await Promise.all(parts));
  }

  async #read(order: StillOrder): Promise<Buffer> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const reply = await this.reply();
    if (reply.kind !== 'bytes') throw this.failure(reply);
    return Buffer.from(reply.base64, 'base64');
  }

  failure(reply: StillReply): QuicksaveError {
    if (reply.kind === 'failed') return rebuildError(reply.error);
    return new QuicksaveError('released', 'The tree does not stand still any more.');
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
  }
}
