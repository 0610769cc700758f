/**
 * Whom an open file description signals: F_SETOWN, F_SETOWN_EX, F_SETSIG and O_ASYNC (fcntl(2)), of whatever kind it is. Asked of a
 * duplicate. Set again inside the process that has it, when all descriptors are in place: the kernel notes the number of the
 * descriptor (si_fd) and who has set the owner, whose rights count. Lost: which of several numbers of one description it was.
 */
import * as v from 'valibot';
import { integerBetween } from '../image/schema.ts';
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { fcntl, signalOwner } from '../kernel/calls/descriptors.ts';
import { readStat } from '../procfs/stat.ts';
import type { LocalFd, RemoteFd } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import type { DescriptorView, RebuiltProcess } from './resource.ts';

const MAX_PID = 2 ** 22;

export const signalsSchema = v.strictObject({
  owner: v.optional(
    v.strictObject({
      type: integerBetween(FCNTL.F_OWNER_TID, FCNTL.F_OWNER_PGRP),
      pid: integerBetween(1, MAX_PID),
    }),
  ),
  /** 0: SIGIO without siginfo. */
  signal: integerBetween(0, 64),
  asynchronous: v.boolean(),
});
export type Signals = v.InferOutput<typeof signalsSchema>;

/** Undefined if it signals nobody. An owner whom a restart would not find is noted. */
export function collectSignals(view: DescriptorView, own: LocalFd, problems: Problem[]): Signals | undefined {
  if ((view.info.flags & OPEN.O_PATH) !== 0) return undefined;
  const owner = signalOwner(own);
  const signal = fcntl(own, FCNTL.F_GETSIG, 0, 'ask for the signal of a file');
  const asynchronous = (view.info.flags & OPEN.O_ASYNC) !== 0;
  if (owner === undefined && signal === 0 && !asynchronous) return undefined;
  if (owner !== undefined && !isInTree(view, owner)) problems.push(strangeOwner(view, owner));
  return { ...(owner === undefined ? {} : { owner }), signal, asynchronous };
}

function isInTree({ tree }: DescriptorView, owner: NonNullable<Signals['owner']>): boolean {
  if (!tree.has(owner.pid)) return false;
  return owner.type !== FCNTL.F_OWNER_PGRP || readStat(owner.pid as never).processGroup === owner.pid;
}

const TYPES: readonly string[] = ['thread', 'process', 'process group'];

function strangeOwner({ pid, fd, descriptor }: DescriptorView, owner: NonNullable<Signals['owner']>): Problem {
  const whom = `${TYPES[owner.type]} ${owner.pid}`;
  return {
    code: 'signal-owner',
    path: [`pid ${pid}`, `fd ${fd}`, descriptor.target],
    message: `It signals ${whom} (F_SETOWN), which a restart could not find: only a process that is saved, or its group.`,
    remedy: 'Save it when the program has taken that back, or closed it.',
  };
}

/** Adds the calls that set it again. */
export function restoreSignals(
  { owner, signal, asynchronous }: Signals,
  { batch }: RebuiltProcess,
  fd: RemoteFd,
): void {
  if (owner !== undefined) {
    const bytes = Buffer.alloc(8);
    bytes.writeInt32LE(owner.type, 0);
    bytes.writeInt32LE(owner.pid, 4);
    const { address } = batch.bytes(bytes);
    batch.call('set whom a file signals', SYS.fcntl, fd, FCNTL.F_SETOWN_EX, address);
  }
  batch.call('set the signal of a file', SYS.fcntl, fd, FCNTL.F_SETSIG, signal);
  if (!asynchronous) return;
  const flags = batch.call('ask for the flags of a file', SYS.fcntl, fd, FCNTL.F_GETFL);
  batch.run();
  // Only a change of the flag enters it into the list of those that are signalled.
  batch.call('set the flags of a file', SYS.fcntl, fd, FCNTL.F_SETFL, flags.result & ~OPEN.O_ASYNC);
  batch.call('have a file send signals', SYS.fcntl, fd, FCNTL.F_SETFL, flags.result | OPEN.O_ASYNC);
}
