/**
 * Settings of one thread that prctl(2) and arch_prctl(2) know: the signal on its parent's death, whether it may read the time
 * stamp counter and ask CPUID, how it hears of broken memory, mitigations of speculative execution, whether it is an I/O
 * flusher (Linux 5.6), and no_new_privs, which cannot be taken back. Lost: the cookie of core scheduling (PR_SCHED_CORE), which
 * says with whom it shares a processor core; both summaries tell.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { ARCH, PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { readCpuinfo } from '../../procfs/cpuinfo.ts';
import { unlessMissing } from '../../procfs/proc-file.ts';
import { readTaskStat } from '../../procfs/stat.ts';
import type { Pid, Tid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import type { HostView, ThreadAspect } from '../resource.ts';

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
  // Images from before these do not have them.
  ioFlusher: v.optional(v.boolean(), false),
  /** CPUID raises SIGSEGV (ARCH_SET_CPUID 0). */
  cpuidFaults: v.optional(v.boolean(), false),
  /** It has a core scheduling cookie; which, nobody else could know. */
  coreScheduled: v.optional(v.boolean(), false),
});
type ThreadSettings = v.InferOutput<typeof schema>;

const ASK_PERSONALITY = 0xffffffff;
const speculations = [PR.PR_SPEC_STORE_BYPASS, PR.PR_SPEC_INDIRECT_BRANCH, PR.PR_SPEC_L1D_FLUSH] as const;

export const threadSettings: ThreadAspect<ThreadSettings> = {
  name: 'settings',
  schema,
  collect: ({ pid, tid, batch }) => {
    const personality = batch.call('read the personality', SYS.personality, ASK_PERSONALITY);
    const signal = batch.data(8);
    batch.call('read the parent death signal', SYS.prctl, PR.PR_GET_PDEATHSIG, signal.address);
    const noNewPrivs = batch.call('read no_new_privs', SYS.prctl, PR.PR_GET_NO_NEW_PRIVS);
    const counter = batch.data(8);
    batch.call('read the setting of the time stamp counter', SYS.prctl, PR.PR_GET_TSC, counter.address);
    const memoryErrors = batch.call('read the memory error policy', SYS.prctl, PR.PR_MCE_KILL_GET);
    const flusher = batch.tryCall('read the I/O flusher flag', SYS.prctl, PR.PR_GET_IO_FLUSHER);
    const cpuid = batch.tryCall('read the use of CPUID', SYS.arch_prctl, ARCH.ARCH_GET_CPUID);
    const cookie = batch.data(8);
    const { PR_SCHED_CORE, PR_SCHED_CORE_GET } = PR;
    // pid 0 is the thread itself, type 0 that thread alone. A kernel without it leaves the zero there.
    batch.tryCall('read the core cookie', SYS.prctl, PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, cookie.address);
    const [bypass, branch, cache] = speculations.map((one) => askSpeculation(batch, one));
    return () => ({
      personality: personality.result,
      parentDeathSignal: signal.bytes.readUInt32LE(0),
      noNewPrivs: noNewPrivs.result === 1,
      timeStampCounter: counter.bytes.readUInt32LE(0) as 1 | 2,
      memoryErrors: memoryErrors.result as 0 | 1 | 2,
      speculation: [bypass?.() ?? 0, branch?.() ?? 0, cache?.() ?? 0],
      ioFlusher: flusher.failed ? isMarkedFlusher(pid, tid) : flusher.result === 1,
      cpuidFaults: !cpuid.failed && cpuid.result === 0,
      coreScheduled: cookie.bytes.readBigUInt64LE(0) !== 0n,
    });
  },
  plan: (state, host, tid) => [
    ...(host.status.noNewPrivs && !state.noNewPrivs ? [noNewPrivs(tid)] : []),
    ...(state.ioFlusher && !mayFlush(host) ? [flusherProblem(tid)] : []),
    ...(state.cpuidFaults && !readCpuinfo().flags.has('cpuid_fault') ? [cpuidProblem(tid)] : []),
  ],
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
    if (state.ioFlusher) batch.call('set the I/O flusher flag', SYS.prctl, PR.PR_SET_IO_FLUSHER, 1);
    else batch.tryCall('reset the I/O flusher flag', SYS.prctl, PR.PR_SET_IO_FLUSHER, 0);
    if (state.cpuidFaults) batch.call('forbid CPUID', SYS.arch_prctl, ARCH.ARCH_SET_CPUID, 0);
    if (state.noNewPrivs) batch.call('set no_new_privs', SYS.prctl, PR.PR_SET_NO_NEW_PRIVS, 1);
  },
  loss: (state, tid) =>
    state.coreScheduled ? `the core scheduling cookie of thread ${tid} is not in the image` : undefined,
  remark: (state, host, tid) => {
    const said: string[] = [];
    if (state.parentDeathSignal !== 0 && !host.keepsParent) {
      const { parentDeathSignal: signal } = state;
      said.push(
        `thread ${tid} no longer gets signal ${signal} when its parent ends: that, or a thread of it, ends at once`,
      );
    }
    if (state.coreScheduled) said.push(`thread ${tid} has no core scheduling cookie but what this command has`);
    return said.length === 0 ? undefined : said.join('; ');
  },
};

/** linux/capability.h; PR_GET_IO_FLUSHER and PR_SET_IO_FLUSHER need it. */
const CAP_SYS_RESOURCE = 24n;
/** PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE, include/linux/sched.h: what PR_SET_IO_FLUSHER sets. */
const PF_IO_FLUSHER = 0x0018_0000;

/** For a thread that may not ask: the kernel's own flags, proc_pid_stat(5). */
function isMarkedFlusher(pid: Pid, tid: Tid): boolean {
  const flags = unlessMissing(() => readTaskStat(pid, tid))?.flags ?? 0;
  return (flags & PF_IO_FLUSHER) === PF_IO_FLUSHER;
}

const mayFlush = (host: HostView): boolean => ((host.status.capEffective >> CAP_SYS_RESOURCE) & 1n) === 1n;

const flusherProblem = (tid: number): Problem => ({
  code: 'io-flusher',
  path: [`thread ${tid}`],
  message: 'It is an I/O flusher (PR_SET_IO_FLUSHER), which only CAP_SYS_RESOURCE can make it again.',
  remedy: 'Run the restart with CAP_SYS_RESOURCE.',
});

const cpuidProblem = (tid: number): Problem => ({
  code: 'missing-cpu-feature',
  path: [`thread ${tid}`],
  message: 'CPUID is forbidden to it (ARCH_SET_CPUID), which this processor cannot do.',
  remedy: 'Restart it on a host whose processor has CPUID faulting.',
});

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
