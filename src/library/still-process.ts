/**
 * The process that makes a tree stand still for the library: ptrace(2) belongs to a thread that nothing else waits on. It does what lines of
 * JSON on its standard input say, and lets the tree go when that ends.
 */
import { readSync, writeSync } from 'node:fs';
import { StillTree } from '../checkpoint/look.ts';
import { asPid } from '../support/brand.ts';
import { describeError } from '../support/error-data.ts';
import { REPLY_FD, type StillOrder, type StillReply } from './messages.ts';

const STANDARD_INPUT = 0;

const tell = (reply: StillReply): void => writeLine(`${JSON.stringify(reply)}\n`);

function writeLine(text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) done += writeSync(REPLY_FD, bytes, done);
}

function* lines(): Generator<string> {
  const buffer = Buffer.alloc(64 * 1024);
  let text = '';
  for (let length = readSync(STANDARD_INPUT, buffer); length > 0; length = readSync(STANDARD_INPUT, buffer)) {
    text += buffer.toString('utf8', 0, length);
    const parts = text.split('\n');
    text = parts.pop() ?? '';
    yield* parts;
  }
}

function serve(pid: number): void {
  const tree = new StillTree(asPid(pid));
  try {
    tell({ kind: 'still', processes: tree.processes });
    for (const line of lines()) {
      const order = JSON.parse(line) as StillOrder;
      try {
        tell({ kind: 'bytes', base64: tree.read(order.pid, order.address, order.length).toString('base64') });
      } catch (error) {
        tell({ kind: 'failed', error: describeError(error) });
      }
    }
  } finally {
    tree.release();
  }
}

// A signal to the whole group (Ctrl-C) is the host's to act on: its end is the end of our input.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
try {
  serve(Number(process.argv[2]));
  tell({ kind: 'released' });
} catch (error) {
  tell({ kind: 'failed', error: describeError(error) });
}
process.exit();
