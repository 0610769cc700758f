/**
 * A process to wait for and to signal: pidfd_open(2). Read from fdinfo: `Pid`. Only of a process that is saved too; of another one
 * nobody knows who has its number at the restart. PIDFD_THREAD (Linux 6.9) shows as O_EXCL.
 */
import * as v from 'valibot';
import { integerBetween, u32 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { openProcess } from '../../kernel/calls/watches.ts';
import { fdinfoField } from '../../procfs/fdinfo.ts';
import { commOf } from '../../procfs/tasks.ts';
import { asPid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';

const schema = v.strictObject({ pid: integerBetween(1, 2 ** 22), flags: u32 });
type Pidfd = v.InferOutput<typeof schema>;

const KEPT_FLAGS = OPEN.O_NONBLOCK | OPEN.O_EXCL;

export const pidfd: DescriptorKind<Pidfd> = {
  kind: 'pidfd',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'pidfd',
  obstacles,
  collect: ({ info }) => ({ pid: Number(fdinfoField(info, 'Pid')), flags: (info.flags & KEPT_FLAGS) >>> 0 }),
  restore: ({ pid, flags }) => openProcess(asPid(pid), flags),
};

function obstacles({ pid, fd, descriptor, info, tree }: DescriptorView): Problem[] {
  const watched = Number(fdinfoField(info, 'Pid'));
  if (tree.has(watched)) return [];
  const path = [`pid ${pid}`, `fd ${fd}`, descriptor.target];
  if (watched <= 0) {
    const message = 'It has a pidfd of a process that has ended, or of another pid namespace.';
    return [{ code: 'pidfd-outside', path, message, remedy: 'Save it when the program has closed it.' }];
  }
  const message = `It has a pidfd of process ${watched} (${commOf(asPid(watched))}), which is not saved.`;
  return [{ code: 'pidfd-outside', path, message, remedy: 'Save it when the program has closed it.' }];
}
