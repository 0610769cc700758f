/**
 * The process in which a save or a restart runs for the library: the same pipelines as the command's, ordered by one
 * argument, answering in lines of JSON. Not a thread of the host program: see docs/architecture.md.
 */
import { writeSync } from 'node:fs';
import { checkpoint } from '../checkpoint/checkpoint.ts';
import { openOutput } from '../checkpoint/remote-output.ts';
import { refuseOtherParent } from '../checkpoint/saver.ts';
import { readAccess, readProtection } from '../image/protection.ts';
import { noteInterrupts } from '../kernel/interrupt-flag.ts';
import { restart } from '../restart/restart.ts';
import { asPid } from '../support/brand.ts';
import { describeError } from '../support/error-data.ts';
import { QuicksaveError } from '../support/errors.ts';
import { FIRST_STREAM_FD, type Order, REPLY_FD, type Reply } from './messages.ts';

const PROGRESS_EVERY_MS = 50;

const tell = (reply: Reply): void => void writeSync(REPLY_FD, `${JSON.stringify(reply)}\n`);

function carryOut(order: Order): unknown {
  const flag = noteInterrupts();
  const isHeard = order.kind === 'restart' || !order.self;
  let toldAt = 0;
  const onPages = (doneBytes: number, totalBytes: number): void => {
    if (flag.signal() !== 0) throw new QuicksaveError('interrupted', sentenceFor(order));
    if (!isHeard) return;
    const now = performance.now();
    const isLast = doneBytes === totalBytes;
    if (totalBytes === 0 || (now - toldAt < PROGRESS_EVERY_MS && !isLast)) return;
    toldAt = now;
    tell({ kind: 'progress', doneBytes, totalBytes });
  };
  return order.kind === 'restart' ? bringBack(order, onPages) : save(order, onPages);
}

type OnPages = (doneBytes: number, totalBytes: number) => void;

function save(
  {
    pid,
    self,
    output,
    kill,
    compress,
    parent,
    track,
    tcp,
    outside,
    ...keyFiles
  }: Extract<Order, { kind: 'checkpoint' }>,
  onPages: OnPages,
): unknown {
  if (self) refuseOtherParent(asPid(pid));
  const { protection, access } = readProtection(keyFiles);
  const target = openOutput(output);
  return checkpoint({
    pid: asPid(pid),
    savesItself: self,
    output: target,
    kill,
    tcp,
    outside,
    compression: compress === 0 ? undefined : compress,
    parent,
    access,
    protection,
    track,
    onPages,
  });
}

function bringBack(order: Extract<Order, { kind: 'restart' }>, onPages: OnPages): unknown {
  const { source, acceptChangedFiles, images, keys, verifyKey, trust, lazy, clock, cgroups } = order;
  return restart({
    source,
    acceptChangedFiles,
    images,
    clock,
    cgroups,
    access: { ...readAccess({ keys, verifyKey }), ownOnly: !trust },
    streams: [FIRST_STREAM_FD, FIRST_STREAM_FD + 1, FIRST_STREAM_FD + 2],
    parent: process.ppid,
    keepsParent: true,
    onPlanned: (pid) => tell({ kind: 'planned', pid }),
    onPages,
    lazy: lazy ? { onRunning: () => {}, onPages } : undefined,
  });
}

function sentenceFor(order: Order): string {
  if (order.kind === 'restart') return 'The restart was interrupted; no process was left.';
  return `The save was interrupted; process ${order.pid} goes on, and no image was made.`;
}

try {
  tell({ kind: 'done', summary: carryOut(JSON.parse(process.argv[2] ?? '') as Order) });
} catch (error) {
  tell({ kind: 'failed', error: describeError(error) });
}
process.exit();
