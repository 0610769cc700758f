/** /proc/PID/fd: proc_pid_fd(5). */
import { type Pid, type RemoteFd, remoteFd } from '../support/brand.ts';
import { splitDeleted, splitDeletedLink } from './deleted-suffix.ts';
import { listProcNumbers, readProcLink, unlessMissing } from './proc-file.ts';

export interface Descriptor extends DescriptorTarget {
  readonly fd: RemoteFd;
  /** The text of the link, as it is. */
  readonly target: string;
}

export interface DescriptorTarget {
  /**
   * 'path' for whatever has one, memfd included; else what stands before the colon: pipe, socket, anon_inode, net, …
   */
  readonly kind: string;
  /** The path without " (deleted)"; or what stands behind the colon without brackets: an inode number, 'eventfd'. */
  readonly name: string;
  readonly deleted: boolean;
}

/** Every open descriptor, ascending. One that is closed while we look is left out. */
export const listDescriptors = (pid: Pid): Descriptor[] =>
  listProcNumbers(pid, 'fd').flatMap((fd) => unlessMissing(() => readDescriptor(pid, remoteFd(fd))) ?? []);

export function readDescriptor(pid: Pid, fd: RemoteFd): Descriptor {
  const target = readProcLink(pid, `fd/${fd}`);
  const parsed = parseDescriptorTarget(target);
  if (!parsed.deleted) return { fd, target, ...parsed };
  const { path, deleted } = splitDeletedLink(`/proc/${pid}/fd/${fd}`, target);
  return { fd, target, kind: parsed.kind, name: path, deleted };
}

export function parseDescriptorTarget(target: string): DescriptorTarget {
  const special = /^([A-Za-z_]+):(.*)$/s.exec(target);
  if (target.startsWith('/') || special === null) {
    const { path, deleted } = splitDeleted(target);
    return { kind: 'path', name: path, deleted };
  }
  const [, kind = '', text = ''] = special;
  return { kind, name: /^\[(.*)\]$/s.exec(text)?.[1] ?? text, deleted: false };
}
