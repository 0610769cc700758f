/**
 * The rights that count when the restart runs in a user namespace of its own: user_namespaces(7). Inside it has all capabilities, but
 * they count there only: what a program may get is what the user has outside, whose status is handed in by the command that has made the namespace.
 */
import { spawnSync } from 'node:child_process';
import { type ProcessStatus, parseStatus, readStatus } from '../procfs/status.ts';
import { asPid } from '../support/brand.ts';
import { OUTSIDE_STATUS } from '../support/outside-status.ts';

let outside: ProcessStatus | undefined;

/** Of the command outside; undefined if we are in the namespaces that we were called in. */
export function outsideStatus(): ProcessStatus | undefined {
  const text = process.env[OUTSIDE_STATUS];
  if (text === undefined) return undefined;
  outside ??= parseStatus(text);
  return outside;
}

/** Of this command; inside its supplementary groups are those that the kernel goes by, not as far as they have a name there. */
export function ownStatus(): ProcessStatus {
  const own = readStatus(asPid(process.pid));
  return { ...own, groups: outsideStatus()?.groups ?? own.groups };
}

export const ownNamespaceRemark =
  'it is in a user and a pid namespace of its own, with the pid that it had, where programs that are set-user-id give no rights';

/** Arguments of setpriv(1), before those of a command. It and unshare(1) end if we do, and the command ends if unshare(1) does. */
export const INTO_OWN_NAMESPACE: readonly string[] = [
  ...['--pdeathsig', 'KILL', 'unshare', '--user', '--map-current-user', '--keep-caps'],
  ...['--pid', '--mount', '--mount-proc', '--fork', '--kill-child'],
];

/** What stands in the way of a user and a pid namespace of one's own: asked by making them. A clause. */
export function whyNoOwnNamespace(): string | undefined {
  const tried = spawnSync('setpriv', [...INTO_OWN_NAMESPACE, 'true'], { encoding: 'utf8' });
  if (tried.status === 0) return undefined;
  return tried.error?.message ?? (tried.stderr.trim().split('\n')[0] || 'unshare has failed');
}
