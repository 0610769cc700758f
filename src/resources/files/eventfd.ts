/**
 * A counter to wait for: eventfd(2). Read from fdinfo (proc_pid_fdinfo(5)): `eventfd-count`, in hexadecimal, and
 * `eventfd-semaphore` (Linux 6.5). A kernel that does not print the latter does not tell the mode: then it is refused, as is
 * a counter that a process outside has too.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { EVENTFD } from '../../kernel/abi/poll.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import { makeEventfd } from '../../kernel/calls/events.ts';
import { fdinfoField, fdinfoLines } from '../../procfs/fdinfo.ts';
import type { Problem } from '../../support/errors.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

/** A counter never reaches its last value (eventfd(2)). */
const MAX_COUNT = 2n ** 64n - 2n;

const schema = v.strictObject({
  count: v.pipe(u64, v.maxValue(MAX_COUNT)),
  semaphore: v.boolean(),
  flags: u32,
});
type Eventfd = v.InferOutput<typeof schema>;

export const eventfd: DescriptorKind<Eventfd> = {
  kind: 'eventfd',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'eventfd',
  obstacles: (view) => [...unknownMode(view), ...heldOutside(view, 'an eventfd')],
  collect: ({ info }) => ({
    count: BigInt(`0x${fdinfoField(info, 'eventfd-count')}`),
    semaphore: fdinfoField(info, 'eventfd-semaphore') !== '0',
    flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
  }),
  restore: ({ count, semaphore, flags }) => {
    const made = makeEventfd(count, EVENTFD.EFD_CLOEXEC | (semaphore ? EVENTFD.EFD_SEMAPHORE : 0));
    fcntl(made.number, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of an eventfd');
    return made;
  },
};

function unknownMode({ pid, fd, descriptor, info }: DescriptorView): Problem[] {
  if (fdinfoLines(info, 'eventfd-semaphore').length > 0) return [];
  return [
    {
      code: 'eventfd-mode',
      path: [`pid ${pid}`, `fd ${fd}`, descriptor.target],
      message: 'This kernel does not tell whether it is a semaphore (EFD_SEMAPHORE).',
      remedy: 'Use Linux 6.5 or newer.',
    },
  ];
}
