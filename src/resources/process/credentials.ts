/**
 * Credentials: credentials(7), capabilities(7). Read from /proc/PID/status; securebits are asked inside. Restored in two steps: the
 * ids first, with all capabilities kept, because much of what follows needs them; the capabilities last, in every thread, so
 * that a program which has dropped its rights does not get them back. What would give the program more than the caller has
 * is refused. Supplementary groups that the user namespace has no number for all look like the overflow gid: only how many there are is saved, and they come
 * back where the restart has them by inheritance, because nobody in that namespace may change them (setgroups(2), user_namespaces(7)).
 */
import * as v from 'valibot';
import { signed32, u32, u64 } from '../../image/schema.ts';
import { CAP, LINUX_CAPABILITY_VERSION_3, SECBIT } from '../../kernel/abi/capability.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { readNamelessGroup } from '../../procfs/proc-file.ts';
import type { Credentials, ProcessStatus } from '../../procfs/status.ts';
import type { Problem } from '../../support/errors.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import { outsideStatus, ownStatus } from '../own-namespace.ts';
import type { HostView, ProcessAspect } from '../resource.ts';

const ids = v.strictObject({ real: u32, effective: u32, saved: u32, filesystem: u32 });
type Ids = v.InferOutput<typeof ids>;

const rights = v.strictObject({
  uid: ids,
  gid: ids,
  groups: v.pipe(v.array(u32), v.maxLength(65536)),
  /** How many more groups it had, that its user namespace had no number for. */
  namelessGroups: v.optional(u32),
  capInheritable: u64,
  capPermitted: u64,
  capEffective: u64,
  capBounding: u64,
  capAmbient: u64,
  securebits: signed32,
});
/** What the kernel never lets a thread have would end the restart half-way. */
const schema = v.pipe(
  rights,
  v.check(
    ({ capEffective, capPermitted }) => (capEffective & ~capPermitted) === 0n,
    'must have effective capabilities that are permitted',
  ),
  v.check(
    ({ capAmbient, capPermitted, capInheritable }) => (capAmbient & ~(capPermitted & capInheritable)) === 0n,
    'must have ambient capabilities that are permitted and inheritable',
  ),
);
type CredentialsState = v.InferOutput<typeof schema>;
type Rights = Omit<CredentialsState, 'securebits'>;

export const credentials: ProcessAspect<CredentialsState> = {
  name: 'credentials',
  schema,
  stage: 'early',
  collect: ({ batch, status }) => {
    const securebits = batch.call('read the securebits', SYS.prctl, PR.PR_GET_SECUREBITS);
    return () => ({ ...withNameless(rightsOf(status)), securebits: securebits.result });
  },
  // Its own securebits are inherited as they are.
  ofCommand: ({ status }) => ({ ...rightsOf(status), securebits: 0 }),
  plan: refuseMoreRights,
  // Inherited, and nobody can take a filter away (seccomp(2)).
  remark: ({ namelessGroups = 0 }, _pid, { status: { seccompMode = 0 } }) => {
    const told = [
      ...(seccompMode === 0 ? [] : ['it runs under the seccomp filter of the restart command']),
      // As many as there were; whether they are the same, nobody can tell.
      ...(namelessGroups === 0
        ? []
        : ['of its groups some had no number where it was saved: they are those of the restart command']),
    ];
    return told.length === 0 ? undefined : told.join('; ');
  },
  restore: (saved, { batch }) => {
    const ours = ownRights();
    const state = withInherited(saved, ours);
    if (!hasOtherIds(state, ours)) return;
    // Neither does the change of ids touch the capabilities: securebits are set again at the end.
    const bits = SECBIT.SECBIT_NO_SETUID_FIXUP | SECBIT.SECBIT_KEEP_CAPS;
    batch.call('keep the capabilities for a while', SYS.prctl, PR.PR_SET_SECUREBITS, bits);
    const groups = Buffer.alloc(state.groups.length * 4);
    state.groups.forEach((group, index) => {
      groups.writeUInt32LE(group, index * 4);
    });
    batch.call('set the groups', SYS.setgroups, state.groups.length, batch.bytes(groups).address);
    const { uid, gid } = state;
    batch.call('set the group ids', SYS.setresgid, gid.real, gid.effective, gid.saved);
    batch.call('set the group id for files', SYS.setfsgid, gid.filesystem);
    batch.call('set the user ids', SYS.setresuid, uid.real, uid.effective, uid.saved);
    batch.call('set the user id for files', SYS.setfsuid, uid.filesystem);
  },
  finish: (saved, { batch }) => {
    const own = ownRights();
    const state = withInherited(saved, own);
    const keepsAll = !hasOtherIds(state, own) && sameCapabilities(state, own);
    if (!keepsAll) return dropCapabilities(state, own, batch);
    if (state.securebits !== 0) setSecurebits(state, own, batch);
  },
};

/** Without CAP_SETPCAP they are those of the command, but for one that anybody may set: the plan has seen to it. */
function setSecurebits({ securebits }: CredentialsState, own: Rights, batch: CallBatch): void {
  if (has(own, CAP.CAP_SETPCAP)) batch.call('set the securebits', SYS.prctl, PR.PR_SET_SECUREBITS, securebits);
  else if (securebits === SECBIT.SECBIT_KEEP_CAPS) {
    batch.call('set the keepcaps flag', SYS.prctl, PR.PR_SET_KEEPCAPS, 1);
  }
}

/** Those of this command, which the process begins with. */
const ownRights = (): Rights => rightsOf(ownStatus());

/** Each step needs what a later one takes: capabilities(7), "Programmatically adjusting capability sets". */
function dropCapabilities(state: CredentialsState, own: Rights, batch: CallBatch): void {
  setCapabilities(batch, { ...own, capInheritable: state.capInheritable });
  const { PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP } = PR;
  batch.call('clear the ambient capabilities', SYS.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (const capability of capabilitiesIn(state.capAmbient)) {
    batch.call('raise an ambient capability', SYS.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
  for (const capability of capabilitiesIn(own.capBounding & ~state.capBounding)) {
    batch.call('drop a capability from the bounding set', SYS.prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  setSecurebits(state, own, batch);
  setCapabilities(batch, state);
}

const MAX_CAPABILITY = 63;
const capabilitiesIn = (set: bigint): number[] =>
  Array.from({ length: MAX_CAPABILITY + 1 }, (_, index) => index).filter(
    (index) => ((set >> BigInt(index)) & 1n) === 1n,
  );

function setCapabilities(batch: CallBatch, { capEffective, capPermitted, capInheritable }: Rights): void {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
  const data = Buffer.alloc(24);
  [capEffective, capPermitted, capInheritable].forEach((set, index) => {
    data.writeUInt32LE(Number(set & 0xffff_ffffn), index * 4);
    data.writeUInt32LE(Number(set >> 32n), 12 + index * 4);
  });
  batch.call('set the capabilities', SYS.capset, batch.bytes(header).address, batch.bytes(data).address);
}

function rightsOf(status: ProcessStatus): Rights {
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

/** As a restart will find them: without those that look all alike. */
function withNameless(seen: Rights): Rights & Pick<CredentialsState, 'namelessGroups'> {
  const nameless = readNamelessGroup();
  const groups = seen.groups.filter((group) => group !== nameless);
  const namelessGroups = seen.groups.length - groups.length;
  return namelessGroups === 0 ? seen : { ...seen, groups, namelessGroups };
}

/** With the groups of the command, where those may be the same. */
function withInherited(state: CredentialsState, { groups: own }: Rights): CredentialsState {
  const { groups, namelessGroups = 0 } = state;
  const maybe = groups.length + namelessGroups === own.length && groups.every((group) => own.includes(group));
  return namelessGroups > 0 && maybe ? { ...state, groups: [...own], namelessGroups: 0 } : state;
}

const copyIds = (from: Credentials): Ids => ({
  real: from.real,
  effective: from.effective,
  saved: from.saved,
  filesystem: from.filesystem,
});

const ID_FIELDS = ['uid', 'gid', 'groups'] as const;
const CAPABILITY_FIELDS = ['capInheritable', 'capPermitted', 'capEffective', 'capBounding', 'capAmbient'] as const;

const hasOtherIds = (state: Rights, own: Rights): boolean =>
  ID_FIELDS.some((key) => JSON.stringify(state[key]) !== JSON.stringify(own[key]));

const sameCapabilities = (state: Rights, own: Rights): boolean =>
  CAPABILITY_FIELDS.every((key) => state[key] === own[key]);

const has = ({ capEffective }: Rights, capability: number): boolean =>
  ((capEffective >> BigInt(capability)) & 1n) === 1n;

function refuseMoreRights(saved: CredentialsState, host: HostView, pid: number): Problem[] {
  // All rights that it has in a namespace of its own are not rights that it may give.
  const own = rightsOf(outsideStatus() ?? host.status);
  const state = withInherited(saved, own);
  const { namelessGroups = 0 } = state;
  if (namelessGroups > 0) return [otherNameless(namelessGroups, pid)];
  const mayChangeIds = [CAP.CAP_SETUID, CAP.CAP_SETGID, CAP.CAP_SETPCAP].every((capability) => has(own, capability));
  const needsBits = state.securebits !== 0 && state.securebits !== SECBIT.SECBIT_KEEP_CAPS;
  const changesMore = needsBits || state.capBounding !== own.capBounding;
  const missing = [
    ...(mayChangeIds ? [] : ID_FIELDS.filter((key) => JSON.stringify(own[key]) !== JSON.stringify(state[key]))),
    ...(['capPermitted', 'capBounding'] as const).filter((key) => (state[key] & ~own[key]) !== 0n),
    ...((state.capInheritable & ~(own.capInheritable | own.capBounding)) === 0n ? [] : ['capInheritable']),
    ...(changesMore && !has(own, CAP.CAP_SETPCAP) ? ['right to set securebits'] : []),
  ];
  if (missing.length === 0) return [];
  return [
    {
      code: 'other-credentials',
      path: [`pid ${pid}`, 'credentials'],
      message: `It ran as uid ${state.uid.effective}, gid ${state.gid.effective}; this command's ${missing.join(', ')} differ.`,
      remedy: `Run the restart with the credentials that the program had (uid ${state.uid.effective}), or as root.`,
    },
  ];
}

const otherNameless = (count: number, pid: number): Problem => ({
  code: 'other-credentials',
  path: [`pid ${pid}`, 'credentials'],
  message: `It was saved in a user namespace that had no number for ${count} of its groups, and this command has other groups.`,
  remedy: 'Run the restart with the groups that the program had, as the user who made that namespace.',
});
