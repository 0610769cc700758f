/**
 * One end of a FIFO, fifo(7), whose ends are all within what is saved. As a pipe, but it has a name: a FIFO must be there at the
 * restart that nobody has open; one without a name is made under the old name for an instant. Read from the link in /proc/PID/fd,
 * fdinfo (flags), F_GETPIPE_SZ, and tee(2).
 */

import { chmodSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { boundedString, u32, u64 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { hasHungUp } from '../../kernel/calls/events.ts';
import { makeFifo } from '../../kernel/calls/pipes.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { findHolders } from '../../procfs/holders.ts';
import type { Problem } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { anyLockObstacles } from '../file-locks.ts';
import { describeHolders, heldOutside } from '../held-outside.ts';
import { makingProblems, openingProblems } from '../may-open.ts';
import {
  capacity,
  capacityOf,
  capacityProblems,
  content,
  contentOf,
  fill,
  isReader,
  packets,
  piecesFit,
  setCapacity,
  setPipeFlags,
} from '../pipe-content.ts';
import type { DescriptorKind, DescriptorView, HostView } from '../resource.ts';

const schema = v.pipe(
  v.strictObject({
    path: boundedString(4096),
    /** It has no name any more. */
    unlinked: v.boolean(),
    mode: u32,
    device: u64,
    inode: u64,
    flags: u32,
    /** A reader that no writer has met yet: poll(2) does not call that a hang-up. */
    unmet: v.boolean(),
    capacityBytes: capacity,
    content,
    packets,
  }),
  v.check((state) => piecesFit(state.content, state.packets), 'must have the packets that its content is'),
);
type Fifo = v.InferOutput<typeof schema>;

export const fifo: DescriptorKind<Fifo> = {
  kind: 'fifo',
  schema,
  recognise: ({ descriptor, stat, info }) =>
    descriptor.kind === 'path' && (stat.mode & STAT.S_IFMT) === STAT.S_IFIFO && (info.flags & OPEN.O_PATH) === 0,
  obstacles,
  collect: (open) => {
    const ends = endsOf(open);
    const first = ends.find(isReader);
    const carries = first?.fd === open.fd && first.pid === open.pid;
    const queued = carries ? contentOf(open.own, ends) : { bytes: Buffer.alloc(0), pieces: [] };
    return {
      path: open.descriptor.name,
      unlinked: open.stat.links === 0n,
      mode: open.stat.mode & 0o7777,
      device: BigInt(open.stat.device),
      inode: open.stat.inode,
      flags: (open.info.flags & ~OPENING_FLAGS) >>> 0,
      unmet: !ends.some(isWriter) && !hasHungUp(open.own),
      capacityBytes: capacityOf(open.own),
      content: queued.bytes,
      packets: [...queued.pieces],
    };
  },
  plan: (state, host, path) => [
    ...nameProblems(state, host, path),
    ...capacityProblems(state.capacityBytes, host.status, path),
  ],
  restore: (state, world) => {
    const { held } = world.shared(`fifo ${state.device}:${state.inode}`, () => ({ held: hold(state) }));
    setCapacity(held.number, state.capacityBytes);
    const again = `/proc/self/fd/${held.number}`;
    // While it is open for both, no end waits for another, and a reader has seen a writer.
    const both = state.unmet ? undefined : openFile(again, OPEN.O_RDWR | OPEN.O_NONBLOCK);
    try {
      if (both !== undefined) fill(both.number, state.content, state.packets);
      const end = openFile(again, (state.flags & ~OPEN.O_DIRECT) | OPEN.O_NONBLOCK);
      setPipeFlags(end.number, state.flags);
      return end;
    } finally {
      both?.close();
    }
  },
};

const OPENING_FLAGS =
  OPEN.O_CREAT | OPEN.O_EXCL | OPEN.O_TRUNC | OPEN.O_NOCTTY | OPEN.O_CLOEXEC | OPEN.O_NOFOLLOW | OPEN.O_DIRECTORY;

const isWriter = ({ info }: { readonly info: { readonly flags: number } }): boolean =>
  (info.flags & OPEN.O_ACCMODE) !== OPEN.O_RDONLY;

const endsOf = (view: DescriptorView): readonly DescriptorView[] =>
  view.siblings.filter(
    ({ stat, info }) =>
      stat.inode === view.stat.inode && stat.device === view.stat.device && (info.flags & OPEN.O_PATH) === 0,
  );

function obstacles(view: DescriptorView): Problem[] {
  const { pid, fd, descriptor, stat, info } = view;
  const path = [`pid ${pid}`, `fd ${fd}`, descriptor.name];
  const found = [...heldOutside(view, 'a FIFO'), ...anyLockObstacles(info.locks, path)];
  const named = tryStat(descriptor.name);
  if (stat.links > 0n && (named?.ino !== stat.inode || Number(named.dev) !== stat.device)) {
    found.push({
      code: 'not-under-its-name',
      path,
      message: `What it has open is not the FIFO ${descriptor.name} that is there.`,
      remedy: 'Save it when the program has closed it.',
    });
  }
  return found;
}

function nameProblems(state: Fifo, host: HostView, path: readonly string[]): Problem[] {
  const refused = state.unlinked
    ? makingProblems(dirname(state.path), path)
    : // Its content stays in a reader of ours.
      openingProblems(
        state.path,
        (isWriter({ info: state }) ? OPEN.O_RDWR : OPEN.O_RDONLY) | (state.flags & (OPEN.O_APPEND | OPEN.O_NOATIME)),
        path,
      );
  if (refused.length > 0) return refused;
  const now = tryStat(state.path);
  if (host.programRuns) return [];
  if (state.unlinked) {
    if (now === undefined) return [];
    const message = `Its FIFO had lost the name ${state.path}, which something else has here.`;
    return [{ code: 'name-taken', path, message, remedy: 'Move that away, and restart again.' }];
  }
  if (!now?.isFIFO()) {
    const message =
      now === undefined ? `The FIFO ${state.path} does not exist here.` : `${state.path} is no FIFO here.`;
    return [{ code: 'missing-file', path, message, remedy: `Make it: mkfifo ${state.path}` }];
  }
  const holders = findHolders(state.path, new Set([process.pid]));
  if (holders.length === 0) return [];
  const message = `The FIFO ${state.path} is in use here: ${describeHolders(holders)} has it.`;
  return [{ code: 'fifo-in-use', path, message, remedy: 'End that program, and restart again.' }];
}

/** Its content stays in it while this is open. */
function hold({ path, unlinked, mode }: Fifo): OwnedFd {
  if (!unlinked) return openFile(path, OPEN.O_RDONLY | OPEN.O_NONBLOCK);
  makeFifo(path, mode);
  try {
    const held = openFile(path, OPEN.O_RDONLY | OPEN.O_NONBLOCK);
    chmodSync(path, mode);
    return held;
  } finally {
    rmSync(path);
  }
}
