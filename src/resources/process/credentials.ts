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
import type { HostView, ProcessAspect } from '../resource.ts';

/** linux/capability.h, linux/securebits.h */
const CAP_SETPCAP = 8n;
const SECBIT_KEEP_CAPS = 16;

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
  stage: 'late',
  collect: ({ batch, status }) => {
    const securebits = batch.call('read the securebits', SYS.prctl, PR.PR_GET_SECUREBITS);
    return () => ({ ...fromStatus(status), securebits: securebits.result });
  },
  // Its own securebits are inherited as they are.
  ofCommand: ({ status }) => ({ ...fromStatus(status), securebits: 0 }),
  plan: refuseOtherRights,
  // Inherited, and nobody can take a filter away (seccomp(2)). A process that had one of its own is not saved.
  remark: (_state, _pid, { status: { seccompMode = 0 } }) =>
    seccompMode === 0 ? undefined : 'it runs under the seccomp filter of the restart command',
  restore: ({ securebits }, { batch }) => {
    // The plan has seen that the caller's other credentials are the saved ones; the process has inherited them.
    if (securebits === SECBIT_KEEP_CAPS) batch.call('set the keepcaps flag', SYS.prctl, PR.PR_SET_KEEPCAPS, 1);
    else if (securebits !== 0) batch.call('set the securebits', SYS.prctl, PR.PR_SET_SECUREBITS, securebits);
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

function refuseOtherRights(state: CredentialsState, host: HostView, pid: number): Problem[] {
  const own = fromStatus(host.status);
  const differing = (Object.keys(own) as (keyof typeof own)[]).filter((key) => !same(own[key], state[key]));
  const maySetBits = ((host.status.capEffective >> CAP_SETPCAP) & 1n) !== 0n;
  const needsBits = state.securebits !== 0 && state.securebits !== SECBIT_KEEP_CAPS && !maySetBits;
  if (differing.length === 0 && !needsBits) return [];
  const names = needsBits ? [...differing, 'right to set securebits'] : differing;
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
