/**
 * User and group ids, groups, capability sets and securebits: credentials(7), capabilities(7).
 * Read from /proc/PID/status and prctl(2) PR_GET_SECUREBITS. A restart runs with the caller's credentials, so it is refused
 * unless they are the saved ones: a program never comes back with other rights than it had.
 */
import * as v from 'valibot';
import { signed32, u32, u64 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { Credentials, ProcessStatus } from '../../procfs/status.ts';
import type { Problem } from '../../support/errors.ts';
import type { HostView, ProcessAspect, ProcessView } from '../resource.ts';

const ids = v.strictObject({ real: u32, effective: u32, saved: u32, filesystem: u32 });

const schema = v.strictObject({
  uid: ids,
  gid: ids,
  groups: v.pipe(v.array(u32), v.maxLength(65536)),
  capInheritable: u64,
  capPermitted: u64,
  capEffective: u64,
  capBounding: u64,
  capAmbient: u64,
  securebits: signed32,
});
type CredentialsState = v.InferOutput<typeof schema>;

export const credentials: ProcessAspect<CredentialsState> = {
  name: 'credentials',
  schema,
  stage: 'early',
  obstacles: threadsWithOtherRights,
  collect: ({ batch, status }) => {
    const securebits = batch.call('read the securebits', SYS.prctl, PR.PR_GET_SECUREBITS);
    return () => ({ ...fromStatus(status), securebits: securebits.result });
  },
  plan: refuseOtherRights,
  restore: () => {
    // The plan has seen that the caller's credentials are the saved ones; the process has inherited them.
  },
};

function fromStatus(status: ProcessStatus): Omit<CredentialsState, 'securebits'> {
  return {
    uid: copyIds(status.uid),
    gid: copyIds(status.gid),
    groups: [...status.groups],
    capInheritable: status.capInheritable,
    capPermitted: status.capPermitted,
    capEffective: status.capEffective,
    capBounding: status.capBounding,
    capAmbient: status.capAmbient,
  };
}

const copyIds = (from: Credentials): v.InferOutput<typeof ids> => ({
  real: from.real,
  effective: from.effective,
  saved: from.saved,
  filesystem: from.filesystem,
});

function threadsWithOtherRights({ pid, status }: ProcessView): Problem[] {
  if (status.seccompMode === undefined || status.seccompMode === 0) return [];
  return [
    {
      code: 'seccomp',
      path: [`pid ${pid}`, 'seccomp'],
      message: 'It runs under a seccomp filter, which cannot be saved yet.',
      remedy: 'Start the program without its sandbox.',
    },
  ];
}

function refuseOtherRights(state: CredentialsState, host: HostView, pid: number): Problem[] {
  const own = fromStatus(host.status);
  const differing = (Object.keys(own) as (keyof typeof own)[]).filter((key) => !same(own[key], state[key]));
  if (differing.length === 0 && state.securebits === 0) return [];
  const names = state.securebits === 0 ? differing : [...differing, 'securebits'];
  return [
    {
      code: 'other-credentials',
      path: [`pid ${pid}`, 'credentials'],
      message: `It ran as uid ${state.uid.effective}, gid ${state.gid.effective}; this command's ${names.join(', ')} differ.`,
      remedy: `Run the restart with the credentials that the program had (uid ${state.uid.effective}).`,
    },
  ];
}

function same(a: unknown, b: unknown): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? part.toString() : part));
  return text(a) === text(b);
}
