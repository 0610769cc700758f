/**
 * Settings of one thread that prctl(2) knows: the signal on its parent's death, whether it may read the time stamp counter,
 * how it hears of broken memory, mitigations of speculative execution, and no_new_privs, which cannot be taken back.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { Problem } from '../../support/errors.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import type { ThreadAspect } from '../resource.ts';

const schema = v.strictObject({
  /** personality(2). */
  personality: u32,
  parentDeathSignal: v.pipe(u32, v.maxValue(64)),
  noNewPrivs: v.boolean(),
  /** PR_TSC_ENABLE or PR_TSC_SIGSEGV. */
  timeStampCounter: v.picklist([1, 2]),
  /** PR_MCE_KILL_LATE, _EARLY or _DEFAULT. */
  memoryErrors: v.picklist([0, 1, 2]),
  /** PR_SPEC_* of store bypass, indirect branches and the L1 data cache, as far as a thread may choose them; else 0. */
  speculation: v.strictTuple([u32, u32, u32]),
});

const ASK_PERSONALITY = 0xffffffff;
const speculations = [PR.PR_SPEC_STORE_BYPASS, PR.PR_SPEC_INDIRECT_BRANCH, PR.PR_SPEC_L1D_FLUSH] as const;

export const threadSettings: ThreadAspect<v.InferOutput<typeof schema>> = {
  name: 'settings',
  schema,
  collect: ({ batch }) => {
    const personality = batch.call('read the personality', SYS.personality, ASK_PERSONALITY);
    const signal = batch.data(8);
    batch.call('read the parent death signal', SYS.prctl, PR.PR_GET_PDEATHSIG, signal.address);
    const noNewPrivs = batch.call('read no_new_privs', SYS.prctl, PR.PR_GET_NO_NEW_PRIVS);
    const counter = batch.data(8);
    batch.call('read the setting of the time stamp counter', SYS.prctl, PR.PR_GET_TSC, counter.address);
    const memoryErrors = batch.call('read the memory error policy', SYS.prctl, PR.PR_MCE_KILL_GET);
    const [bypass, branch, cache] = speculations.map((one) => askSpeculation(batch, one));
    return () => ({
      personality: personality.result,
      parentDeathSignal: signal.bytes.readUInt32LE(0),
      noNewPrivs: noNewPrivs.result === 1,
      timeStampCounter: counter.bytes.readUInt32LE(0) as 1 | 2,
      memoryErrors: memoryErrors.result as 0 | 1 | 2,
      speculation: [bypass?.() ?? 0, branch?.() ?? 0, cache?.() ?? 0],
    });
  },
  plan: (state, host, tid) => (host.status.noNewPrivs && !state.noNewPrivs ? [noNewPrivs(tid)] : []),
  restore: (state, { batch, keepsParent }) => {
    batch.call('set the personality', SYS.personality, state.personality);
    const deathSignal = keepsParent ? state.parentDeathSignal : 0;
    batch.call('set the parent death signal', SYS.prctl, PR.PR_SET_PDEATHSIG, deathSignal);
    const { timeStampCounter, memoryErrors } = state;
    // Also what every thread begins with: this command may have been given something else.
    batch.call('set the use of the time stamp counter', SYS.prctl, PR.PR_SET_TSC, timeStampCounter);
    batch.call('set the memory error policy', SYS.prctl, PR.PR_MCE_KILL, PR.PR_MCE_KILL_SET, memoryErrors);
    state.speculation.forEach((mode, index) => {
      const which = speculations[index] ?? 0;
      if (mode !== 0) batch.call('set speculation', SYS.prctl, PR.PR_SET_SPECULATION_CTRL, which, mode);
    });
    if (state.noNewPrivs) batch.call('set no_new_privs', SYS.prctl, PR.PR_SET_NO_NEW_PRIVS, 1);
  },
  remark: (state, host, tid) =>
    state.parentDeathSignal === 0 || host.keepsParent
      ? undefined
      : `thread ${tid} no longer gets signal ${state.parentDeathSignal} when its parent ends: this command is its parent`,
};

const noNewPrivs = (tid: number): Problem => ({
  code: 'no-new-privs',
  path: [`thread ${tid}`],
  message: 'This command runs with no_new_privs, which the program did not have and could not get rid of.',
  remedy: 'Run the restart from a shell without it.',
});

const MODES = PR.PR_SPEC_ENABLE | PR.PR_SPEC_DISABLE | PR.PR_SPEC_FORCE_DISABLE | PR.PR_SPEC_DISABLE_NOEXEC;

/** A kernel or CPU that leaves no choice answers with an error, or without PR_SPEC_PRCTL. */
function askSpeculation(batch: CallBatch, which: number): () => number {
  const asked = batch.tryCall('read a speculation setting', SYS.prctl, PR.PR_GET_SPECULATION_CTRL, which);
  return () => (asked.failed || (asked.result & PR.PR_SPEC_PRCTL) === 0 ? 0 : asked.result & MODES);
}
