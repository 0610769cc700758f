/** Files on hosts that the user can reach with ssh(1): with the keys, the agent and the configuration that the user has. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import type { HostAddress } from '../support/address.ts';
import type { QuicksaveError } from '../support/errors.ts';
import type { Carrier } from './carrier.ts';
import type { ImagePipe } from './image-pipe.ts';
import { type Ended, sshError } from './ssh-errors.ts';
import { doneLine, READ_SCRIPT, readyLine, TOKEN_LENGTH, WRITE_SCRIPT } from './ssh-scripts.ts';

/** Of what ssh and the other host say on standard error, so much is kept: the end of it. */
const KEPT_TEXT = 4096;
/** A line of ours is shorter by far; before it a login shell may greet. */
const MAX_GREETING = 64 * 1024;
/** How long the other end may take to clear away what is not to be kept. */
const CLEARING_MS = 10_000;

export const carryBySsh = (address: HostAddress): Carrier => ({
  put: (pipe, onReady) => put(new Connection(address, WRITE_SCRIPT), pipe, onReady),
  get: (pipe, onReady) => get(new Connection(address, READ_SCRIPT), pipe, onReady),
});

async function put(connection: Connection, pipe: ImagePipe, onReady: () => void): Promise<boolean> {
  const { token } = connection;
  await connection.send(`${token}\n`);
  await connection.expectLine(readyLine(token));
  onReady();
  for await (const bytes of pipe.bytes()) await connection.send(bytes);
  if (!(await pipe.isWhole())) {
    await connection.giveUp();
    return false;
  }
  await connection.send(token);
  connection.endInput();
  await connection.expectLine(doneLine(token));
  return true;
}

async function get(connection: Connection, pipe: ImagePipe, onReady: () => void): Promise<void> {
  const { token } = connection;
  await connection.send(`${token}\n`);
  connection.endInput();
  await connection.expectLine(readyLine(token));
  onReady();
  for await (const bytes of connection.bytes()) await pipe.write(bytes);
  await connection.expectSuccess();
  await pipe.end();
}

class Connection {
  readonly token = randomBytes(TOKEN_LENGTH / 2).toString('hex');
  readonly #address: HostAddress;
  readonly #ssh: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<Ended>;
  readonly #output: AsyncIterator<Buffer>;
  #ahead: Buffer = Buffer.alloc(0);
  #said = '';
  #isReady = false;

  constructor(address: HostAddress, script: string) {
    this.#address = address;
    this.#ssh = spawn('ssh', argumentsFor(address, script), { stdio: ['pipe', 'pipe', 'pipe'] });
    const { stdin, stdout, stderr } = this.#ssh;
    stdin.on('error', () => {
      // It has ended, and its status says why.
    });
    stderr.on('data', (bytes: Buffer) => {
      this.#said = (this.#said + bytes.toString()).slice(-KEPT_TEXT);
    });
    this.#output = stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#ended = new Promise((resolve) => {
      this.#ssh.once('error', (error: NodeJS.ErrnoException) => resolve({ status: undefined, said: error.code ?? '' }));
      this.#ssh.once('close', (status, signal) => resolve({ status: status ?? undefined, said: this.#said, signal }));
    });
    stdin.write(`${address.path}\n`);
  }

  /** Resolves when there is room for more. */
  async send(bytes: string | Uint8Array): Promise<void> {
    const { stdin } = this.#ssh;
    if (stdin.destroyed) throw await this.#failure();
    if (stdin.write(bytes)) return;
    await roomOrEnd(stdin);
    if (stdin.destroyed) throw await this.#failure();
  }

  endInput(): void {
    this.#ssh.stdin.end();
  }

  /** Passes over what a login shell says before. */
  async expectLine(line: string): Promise<void> {
    const wanted = Buffer.from(`${line}\n`);
    for (;;) {
      const at = this.#ahead.indexOf(wanted);
      if (at >= 0) {
        this.#ahead = this.#ahead.subarray(at + wanted.length);
        this.#isReady = true;
        return;
      }
      const { value, done } = await this.#output.next();
      if (done === true || this.#ahead.length > MAX_GREETING) throw await this.#failure();
      this.#ahead = Buffer.concat([this.#ahead, value]);
    }
  }

  /** What comes behind the line. */
  async *bytes(): AsyncGenerator<Buffer> {
    if (this.#ahead.length > 0) yield this.#ahead;
    for (let { value, done } = await this.#output.next(); done !== true; { value, done } = await this.#output.next()) {
      yield value;
    }
  }

  async expectSuccess(): Promise<void> {
    const ended = await this.#ended;
    if (ended.status !== 0) throw sshError(ended, this.#address, this.#isReady);
  }

  /** Ends without the token, so that the other end throws away what it has; waits until it has done so. */
  async giveUp(): Promise<void> {
    this.endInput();
    const timer = setTimeout(() => this.#ssh.kill(), CLEARING_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  async #failure(): Promise<QuicksaveError> {
    this.#ssh.stdin.destroy();
    const ended = await this.#ended;
    return sshError(ended, this.#address, this.#isReady);
  }
}

/** Node destroys the input of a process that has ended. */
function roomOrEnd(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settled = (): void => {
      stream.off('drain', settled).off('close', settled);
      resolve();
    };
    stream.on('drain', settled).on('close', settled);
  });
}

/** Nothing but what an image needs, and a connection that has died is noticed. */
function argumentsFor({ user, host, port }: HostAddress, script: string): string[] {
  return [
    ...['-T', '-x', '-a', '-o', 'ClearAllForwardings=yes', '-o', 'PermitLocalCommand=no'],
    ...['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=4'],
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(user === undefined ? [] : ['-l', user]),
    '--',
    host,
    script,
  ];
}
