/**
 * The slave of a pseudo-terminal, pts(4), whose master is among what is saved; any other terminal is a stream to the outside.
 * Read from its device number, fdinfo (flags) and the exclusive mode. What belongs to the pair is with the master, and what waits in it, where the kernel
 * shows that.
 */
import * as v from 'valibot';
import { integerBetween, u32 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { FS } from '../../kernel/abi/fs.ts';
import { IOCTL } from '../../kernel/abi/ioctl.ts';
import { bytesQueued } from '../../kernel/calls/descriptors.ts';
import { askTerminal, makeExclusive, openPeer } from '../../kernel/calls/pseudo-terminals.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { heldOutside } from '../held-outside.ts';
import {
  isUnderItsName,
  MAX_TERMINALS,
  masterOf,
  slaveIndex,
  slavePath,
  statusFlags,
  terminal,
} from '../pseudo-terminals.ts';
import type { DescriptorKind, DescriptorView, OpenDescriptor } from '../resource.ts';
import { showsContent } from './terminal-content.ts';

const schema = v.strictObject({
  index: integerBetween(0, MAX_TERMINALS - 1),
  flags: u32,
  exclusive: v.boolean(),
});
type PtySlave = v.InferOutput<typeof schema>;

export const ptySlave: DescriptorKind<PtySlave> = {
  kind: 'pty-slave',
  schema,
  recognise: (view) => masterOf(view) !== undefined,
  obstacles,
  collect,
  restore: ({ index, flags }, world) => openPeer(terminal(world, index).master.number, flags),
  settle: ({ exclusive }, own) => {
    if (exclusive) makeExclusive(own);
  },
};

function obstacles(view: DescriptorView): Problem[] {
  const found = heldOutside(view, `the terminal ${view.descriptor.target}`);
  if (isUnderItsName(view, slaveIndex(view) ?? 0)) return found;
  found.push({
    code: 'terminal',
    path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
    message: `Its terminal ${view.descriptor.target} is of another instance of devpts(5) than that of /dev/pts here.`,
    remedy: 'Save it when the program has closed it.',
  });
  return found;
}

function collect(open: OpenDescriptor): PtySlave {
  const index = slaveIndex(open) ?? 0;
  const queued = bytesQueued(open.own, FS.FIONREAD);
  if (queued > 0 && !showsContent(open.own)) {
    throw new QuicksaveError(
      'terminal-content',
      `${queued} bytes that were typed on the terminal ${slavePath(index)} have not been read, which cannot be saved.`,
      { remedy: 'Save it a moment later.' },
    );
  }
  const discipline = askTerminal(open.own, IOCTL.TIOCGETD, 'line discipline');
  if (discipline !== 0) {
    throw new QuicksaveError('terminal', `The terminal ${slavePath(index)} has line discipline ${discipline}.`);
  }
  return {
    index,
    flags: (statusFlags(open) | (open.info.flags & OPEN.O_LARGEFILE)) >>> 0,
    exclusive: askTerminal(open.own, IOCTL.TIOCGEXCL, 'exclusive mode') !== 0,
  };
}
