/**
 * One end of a pipe whose ends are all within what is saved: pipe(7). Read from fdinfo (flags), F_GETPIPE_SZ, and the
 * queued bytes with tee(2), which leaves them in the pipe. All ends that share an inode share one pipe. An end that is
 * open nowhere stays closed. Packets (O_DIRECT) are kept. Lost: how a stream was cut into buffers; that a single packet is one,
 * where no end writes packets any more.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { isNotificationPipe, makePipe } from '../../kernel/calls/pipes.ts';
import { QuicksaveError } from '../../support/errors.ts';
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
import type { DescriptorKind, DescriptorView, OpenDescriptor } from '../resource.ts';
import { siblingsOfTarget } from '../siblings.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const entries = {
  /** The pipe's inode when it was saved: ends with the same number are one pipe. */
  pipe: u64,
  flags: u32,
  /** Made by pipe(2) itself, not by opening the pipe again through /proc, which sets O_LARGEFILE for good. */
  original: v.boolean(),
  capacityBytes: capacity,
  /** Only the first read end of each pipe has them. */
  content,
  packets,
  /** Others had ends of it: those are closed. */
  cutOff: v.optional(v.boolean()),
};
const schema = v.pipe(
  v.strictObject(entries),
  v.check((state) => piecesFit(state.content, state.packets), 'must have the packets that its content is'),
);
type PipeEnd = v.InferOutput<typeof schema>;

export const pipe: DescriptorKind<PipeEnd> = {
  kind: 'pipe',
  schema,
  recognise: ({ descriptor, outsiders, info, outside }) =>
    descriptor.kind === 'pipe' && (outsiders.length === 0 || outside.closes) && (info.flags & OPEN.O_PATH) === 0,
  collect: (open) => {
    if (!isReader(open) && isNotificationPipe(open.own)) {
      throw new QuicksaveError(
        'unknown-descriptor',
        `Descriptor ${open.fd} is a notification pipe (watch_queue), which cannot be saved.`,
        {
          remedy: 'Save it when the program has closed it.',
        },
      );
    }
    const queued = isReader(open) && isFirst(open, isReader) ? contentOf(open.own, siblingsOfTarget(open)) : NOTHING;
    return {
      pipe: open.stat.inode,
      flags: (open.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      original: isOriginal(open) && isFirst(open, isOriginal),
      capacityBytes: capacityOf(open.own),
      content: queued.bytes,
      packets: [...queued.pieces],
      ...(open.outsiders.length === 0 ? {} : { cutOff: true }),
    };
  },
  plan: ({ capacityBytes }, { status }, path) => capacityProblems(capacityBytes, status, path),
  restore: (state, world) => {
    const both = world.shared(`pipe ${state.pipe}`, makePipe);
    setCapacity(both.read.number, state.capacityBytes);
    fill(both.write.number, state.content, state.packets);
    // Opening through /proc gives an open file description with flags of its own for this same pipe.
    const base = (state.flags & OPEN.O_ACCMODE) === OPEN.O_RDONLY ? both.read : both.write;
    // The pair's own end is handed over as it is: a program may have as many as may be open at all.
    const end = state.original
      ? base
      : openFile(`/proc/self/fd/${base.number}`, state.flags & (OPEN.O_ACCMODE | STATUS_FLAGS));
    setPipeFlags(end.number, state.flags);
    return end;
  },
  remark: ({ cutOff }, fd) =>
    cutOff ? `descriptor ${fd} is a pipe of which others have ends too: a restart finds those closed` : undefined,
};

const NOTHING = { bytes: Buffer.alloc(0), pieces: [] };

const isOriginal = (view: DescriptorView): boolean => (view.info.flags & OPEN.O_LARGEFILE) === 0;

/** Of all ends of its pipe that are so, and have its access mode. */
function isFirst(open: OpenDescriptor, isSo: (view: DescriptorView) => boolean): boolean {
  const first = siblingsOfTarget(open).find((other) => isReader(other) === isReader(open) && isSo(other));
  return first?.fd === open.fd && first.pid === open.pid;
}
