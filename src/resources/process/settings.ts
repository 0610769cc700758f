/**
 * Settings of the whole process that prctl(2) knows, by table: each is one call to read, one to set.
 */
import * as v from 'valibot';
import { signed32 } from '../../image/schema.ts';
import { ARCH, PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { CallBatch, PendingCall } from '../../tracee/call-batch.ts';
import type { ProcessAspect } from '../resource.ts';

interface Setting {
  readonly read: (batch: CallBatch) => () => number;
  readonly set: (batch: CallBatch, value: number) => void;
}

/** A value that prctl stores through a pointer. */
const stored = (what: string, get: number, set: number): Setting => ({
  read: (batch) => {
    const data = batch.data(8);
    batch.call(`read ${what}`, SYS.prctl, get, data.address);
    return () => data.bytes.readInt32LE(0);
  },
  set: (batch, value) => void batch.call(`set ${what}`, SYS.prctl, set, value),
});

/** A value that an older kernel does not know: then it is 0, which is what every process begins with. */
const sinceLately = (what: string, get: number, set: number): Setting => ({
  read: (batch) => {
    const call = batch.tryCall(`read ${what}`, SYS.prctl, get);
    return () => (call.failed ? 0 : call.result);
  },
  // It may have been inherited from this command, so 0 is set too, as far as it can be.
  set: (batch, value) => {
    if (value !== 0) batch.call(`set ${what}`, SYS.prctl, set, value);
    else batch.tryCall(`reset ${what}`, SYS.prctl, set, value);
  },
});

/** The only register state that a program has to ask for: Linux 5.16, Documentation/arch/x86/xstate.rst. */
const XTILE_DATA = 18n;

const settings = {
  childSubreaper: stored('the subreaper flag', PR.PR_GET_CHILD_SUBREAPER, PR.PR_SET_CHILD_SUBREAPER),
  thpDisable: {
    read: (batch: CallBatch) => {
      const call: PendingCall = batch.call('read the huge page setting', SYS.prctl, PR.PR_GET_THP_DISABLE);
      return () => call.result;
    },
    // From Linux 6.18 on the answer has flags beside bit 0, which are the third argument when it is set.
    set: (batch: CallBatch, value: number) =>
      void batch.call('set the huge page setting', SYS.prctl, PR.PR_SET_THP_DISABLE, value & 1, value & ~1),
  },
  tileData: {
    read: (batch: CallBatch) => {
      const mask = batch.data(8);
      batch.tryCall('read the permitted register state', SYS.arch_prctl, ARCH.ARCH_GET_XCOMP_PERM, mask.address);
      return () => Number((mask.bytes.readBigUInt64LE(0) >> XTILE_DATA) & 1n);
    },
    // exec(2) has taken every permission away.
    set: (batch: CallBatch, value: number) => {
      if (value === 0) return;
      batch.call('ask for AMX tiles', SYS.arch_prctl, ARCH.ARCH_REQ_XCOMP_PERM, XTILE_DATA);
    },
  },
  memoryMerge: sinceLately('the merging of equal pages', PR.PR_GET_MEMORY_MERGE, PR.PR_SET_MEMORY_MERGE),
  denyWriteExecute: sinceLately('memory-deny-write-execute', PR.PR_GET_MDWE, PR.PR_SET_MDWE),
  dumpable: {
    read: (batch: CallBatch) => {
      const call: PendingCall = batch.call('read the dumpable flag', SYS.prctl, PR.PR_GET_DUMPABLE);
      return () => call.result;
    },
    // 2 (readable by root only) is what the kernel itself sets; nobody may ask for it. 0 is as strict towards others.
    set: (batch: CallBatch, value: number) =>
      void batch.call('set the dumpable flag', SYS.prctl, PR.PR_SET_DUMPABLE, value === 1 ? 1 : 0),
  },
} satisfies Record<string, Setting>;

type SettingName = keyof typeof settings;
const names = Object.keys(settings) as SettingName[];
const schema = v.strictObject({
  ...(Object.fromEntries(names.map((name) => [name, signed32])) as Record<SettingName, typeof signed32>),
  // Images from before this setting do not have it.
  tileData: v.optional(signed32, 0),
});

export const processSettings: ProcessAspect<Record<SettingName, number>> = {
  name: 'settings',
  schema,
  stage: 'late',
  collect: ({ batch }) => {
    const readers = names.map((name) => ({ name, read: settings[name].read(batch) }));
    return () => Object.fromEntries(readers.map(({ name, read }) => [name, read()])) as Record<SettingName, number>;
  },
  restore: (state, { batch }) => {
    for (const name of names) settings[name].set(batch, state[name]);
  },
};
