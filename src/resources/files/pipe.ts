/**
 * One end of a pipe whose both ends are within the saved process: pipe(7). Read from fdinfo (flags), F_GETPIPE_SZ, and
 * the queued bytes with tee(2), which leaves them in the pipe. All ends that share an inode share one pipe. An end that is
 * open nowhere stays closed. Lost: how the bytes were cut into buffers (only a packet pipe shows that; it is refused).
 */
import * as v from 'valibot';
import { byteString, integerBetween, u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { duplicate, fcntl, openFile } from '../../kernel/calls/descriptors.ts';
import { fillPipe, makePipe, pipeContent } from '../../kernel/calls/pipes.ts';
import type { Problem } from '../../support/errors.ts';
import { isFirstOf } from '../first-of.ts';
import type { DescriptorKind, DescriptorView, OpenDescriptor } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const MAX_PIPE_BYTES = 1 << 26;
const schema = v.strictObject({
  /** The pipe's inode when it was saved: ends with the same number are one pipe. */
  pipe: u64,
  flags: u32,
  /** Made by pipe(2) itself, not by opening the pipe again through /proc, which sets O_LARGEFILE for good. */
  original: v.boolean(),
  capacityBytes: integerBetween(4096, 2 ** 31),
  /** The queued bytes; only the first read end of each pipe has them. */
  content: byteString(MAX_PIPE_BYTES),
});
type PipeEnd = v.InferOutput<typeof schema>;

export const pipe: DescriptorKind<PipeEnd> = {
  kind: 'pipe',
  schema,
  recognise: ({ descriptor, outsiders }) => descriptor.kind === 'pipe' && outsiders.length === 0,
  obstacles,
  collect: (open) => ({
    pipe: open.stat.inode,
    flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    original: isOriginal(open) && isFirstOf(open, isSuchEnd(open, isOriginal)),
    capacityBytes: fcntl(open.own, FCNTL.F_GETPIPE_SZ, 0, 'ask for the capacity of a pipe'),
    content: isReader(open) && isFirstOf(open, isSuchEnd(open, isReader)) ? pipeContent(open.own) : Buffer.alloc(0),
  }),
  restore: (state, world) => {
    const both = world.shared(`pipe ${state.pipe}`, makePipe);
    if (fcntl(both.read.number, FCNTL.F_GETPIPE_SZ, 0, 'ask for the capacity of a pipe') !== state.capacityBytes) {
      fcntl(both.read.number, FCNTL.F_SETPIPE_SZ, state.capacityBytes, 'set the capacity of a pipe');
    }
    if (state.content.length > 0) fillPipe(both.write.number, state.content);
    // Opening through /proc gives an open file description with flags of its own for this same pipe.
    const base = (state.flags & OPEN.O_ACCMODE) === OPEN.O_RDONLY ? both.read : both.write;
    if (!state.original) return openFile(`/proc/self/fd/${base.number}`, state.flags & (OPEN.O_ACCMODE | STATUS_FLAGS));
    fcntl(base.number, FCNTL.F_SETFL, state.flags & STATUS_FLAGS, 'set the flags of a pipe');
    return duplicate(base.number);
  },
};

const isReader = (view: DescriptorView): boolean => (view.info.flags & OPEN.O_ACCMODE) !== OPEN.O_WRONLY;

const isOriginal = (view: DescriptorView): boolean => (view.info.flags & OPEN.O_LARGEFILE) === 0;

/** Any end of its pipe that is so, and has its access mode. */
const isSuchEnd =
  (open: OpenDescriptor, isSo: (view: DescriptorView) => boolean) =>
  (other: DescriptorView): boolean =>
    other.descriptor.target === open.descriptor.target && isReader(other) === isReader(open) && isSo(other);

function obstacles(view: DescriptorView): Problem[] {
  const path = [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];
  if ((view.info.flags & OPEN.O_DIRECT) !== 0) {
    return [
      {
        code: 'packet-pipe',
        path,
        message: 'It is a packet pipe (O_DIRECT), which cannot be saved yet.',
        remedy: 'Save it when the pipe has been closed.',
      },
    ];
  }
  return [];
}
