/**
 * Signals to be read: signalfd(2). Read from fdinfo: `sigmask` (Linux 3.8). What it gives are the pending signals of who reads it,
 * which are saved apart.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import { makeSignalfd } from '../../kernel/calls/timers.ts';
import { fdinfoField } from '../../procfs/fdinfo.ts';
import { parseMask } from '../../procfs/proc-text.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const schema = v.strictObject({
  /** Bit n-1 is signal n. */
  mask: u64,
  flags: u32,
});
type Signalfd = v.InferOutput<typeof schema>;

export const signalfd: DescriptorKind<Signalfd> = {
  kind: 'signalfd',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'signalfd',
  obstacles: (view) => heldOutside(view, 'a signalfd'),
  collect: ({ info }) => ({
    mask: parseMask('fdinfo', 'sigmask', fdinfoField(info, 'sigmask')),
    flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
  }),
  restore: ({ mask, flags }) => {
    const made = makeSignalfd(mask);
    fcntl(made.number, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a signalfd');
    return made;
  },
};
