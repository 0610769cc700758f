/** Settings of a process and of a thread, against a kernel that remembers what was set. */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { MEMBARRIER } from '../../../src/kernel/abi/membarrier.ts';
import { MLOCK } from '../../../src/kernel/abi/mman.ts';
import { ARCH, PR } from '../../../src/kernel/abi/prctl.ts';
import { readCpuinfo } from '../../../src/procfs/cpuinfo.ts';
import { futureLocking } from '../../../src/resources/process/future-locking.ts';
import { mappingPolicies } from '../../../src/resources/process/mapping-policies.ts';
import { membarrier } from '../../../src/resources/process/membarrier.ts';
import { session } from '../../../src/resources/process/session.ts';
import { processSettings } from '../../../src/resources/process/settings.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { memoryPolicy } from '../../../src/resources/thread/memory-policy.ts';
import { threadName } from '../../../src/resources/thread/name.ts';
import { threadSettings } from '../../../src/resources/thread/settings.ts';
import { threadPointers } from '../../../src/resources/thread/thread-pointers.ts';
import { asTid } from '../../../src/support/brand.ts';
import type { FakeKernel } from '../tracee/fake-task.ts';
import { collected, collectorOf, PID, type Restored, restored } from './in-a-batch.ts';
import { processStates, threadStates } from './samples.ts';
import { mappingView } from './views.ts';

/** Options of prctl(2) that are asked through a pointer, and of which option each answer is. */
const storedAt = new Map<number, number>([
  [PR.PR_GET_CHILD_SUBREAPER, PR.PR_SET_CHILD_SUBREAPER],
  [PR.PR_GET_PDEATHSIG, PR.PR_SET_PDEATHSIG],
  [PR.PR_GET_TSC, PR.PR_SET_TSC],
]);
const returned = new Map<number, number>([
  [PR.PR_GET_THP_DISABLE, PR.PR_SET_THP_DISABLE],
  [PR.PR_GET_MEMORY_MERGE, PR.PR_SET_MEMORY_MERGE],
  [PR.PR_GET_MDWE, PR.PR_SET_MDWE],
  [PR.PR_GET_DUMPABLE, PR.PR_SET_DUMPABLE],
  [PR.PR_GET_NO_NEW_PRIVS, PR.PR_SET_NO_NEW_PRIVS],
  [PR.PR_GET_IO_FLUSHER, PR.PR_SET_IO_FLUSHER],
]);

/** A kernel in which these calls have been made; what none of them set has its first value. */
function kernelAfter({ calls }: Restored): FakeKernel {
  const values = new Map<number, number>([
    [PR.PR_SET_TSC, PR.PR_TSC_ENABLE],
    [PR.PR_SET_DUMPABLE, 1],
  ]);
  const speculation = new Map<number, number>();
  let personality = 0;
  let memoryErrors = 2;
  let cpuid = 1;
  let tiles = 0n;
  for (const { name, args } of calls) {
    const [option = 0, second = 0, third = 0] = args;
    if (name === 'personality') personality = option;
    else if (option === ARCH.ARCH_SET_CPUID) cpuid = second;
    else if (option === ARCH.ARCH_REQ_XCOMP_PERM) tiles |= 1n << BigInt(second);
    else if (option === PR.PR_MCE_KILL && second === PR.PR_MCE_KILL_SET) memoryErrors = third;
    else if (option === PR.PR_SET_SPECULATION_CTRL) speculation.set(second, third);
    else values.set(option, second);
  }
  return ({ name, args: [option = 0, second = 0] }, memory) => {
    if (name === 'personality') return option === 0xffff_ffff ? personality : -ERRNO.EINVAL;
    if (option === PR.PR_MCE_KILL_GET) return memoryErrors;
    if (option === ARCH.ARCH_GET_CPUID) return cpuid;
    if (option === ARCH.ARCH_GET_XCOMP_PERM) {
      memory(second).writeBigUInt64LE(7n | tiles, 0);
      return 0;
    }
    if (option === PR.PR_GET_SPECULATION_CTRL) return PR.PR_SPEC_PRCTL | (speculation.get(second) ?? PR.PR_SPEC_ENABLE);
    const stored = storedAt.get(option);
    const asked = stored ?? returned.get(option);
    if (asked === undefined) return -ERRNO.EINVAL;
    const value = values.get(asked) ?? 0;
    if (stored === undefined) return value;
    memory(second).writeInt32LE(value, 0);
    return 0;
  };
}

describe('settings', () => {
  const { settings } = processStates;

  it('of a process are found as they were set', () => {
    const state = { ...settings, dumpable: 1 };
    const kernel = kernelAfter(restored((process) => processSettings.restore(state, process)));
    expect(collected(collectorOf(processSettings), kernel)).toEqual(state);
  });

  it.each([
    [0, 0],
    [1, 1],
    [2, 0],
  ])('that make a process dumpable to degree %d are set to %d', (saved, wanted) => {
    const { calls } = restored((process) => processSettings.restore({ ...settings, dumpable: saved }, process));
    const set = calls.find(({ args: [option] }) => option === PR.PR_SET_DUMPABLE);
    expect(set?.args[1]).toBe(wanted);
  });

  it('that an older kernel does not know are 0', () => {
    const old: FakeKernel = ({ args: [option] }) =>
      option === PR.PR_GET_MDWE || option === PR.PR_GET_MEMORY_MERGE ? -ERRNO.EINVAL : 0;
    const state = collected(collectorOf(processSettings), old);
    expect(state).toMatchObject({ memoryMerge: 0, denyWriteExecute: 0 });
    const { calls } = restored((process) => processSettings.restore(state, process));
    const set = calls.filter(({ args: [option] }) => option === PR.PR_SET_MDWE || option === PR.PR_SET_MEMORY_MERGE);
    expect(set.map(({ args }) => args[1])).toEqual([0, 0]);
  });

  it('of a thread are found as they were set', () => {
    const state = { ...threadStates.settings, speculation: [4, 2, 8], cpuidFaults: true } as const;
    const kernel = kernelAfter(restored((thread) => threadSettings.restore(state as never, thread)));
    expect(collected(collectorOf(threadSettings), kernel)).toEqual(state);
  });

  it('of a thread are set too where they are what every thread begins with: the command may have been given others', () => {
    const state = {
      personality: 0,
      parentDeathSignal: 0,
      noNewPrivs: false,
      timeStampCounter: 1,
      memoryErrors: 2,
      speculation: [0, 0, 0],
      ioFlusher: false,
      cpuidFaults: false,
      coreScheduled: false,
    };
    const { calls } = restored((thread) => threadSettings.restore(state as never, thread));
    expect(calls.map(({ args: [option, value] }) => [option, value])).toEqual([
      [0, 0],
      [PR.PR_SET_PDEATHSIG, 0],
      [PR.PR_SET_TSC, PR.PR_TSC_ENABLE],
      [PR.PR_MCE_KILL, PR.PR_MCE_KILL_SET],
      [PR.PR_SET_IO_FLUSHER, 0],
    ]);
  });

  it('of a thread do not kill it when the restart command leaves it alone', () => {
    const { calls } = restored((thread) =>
      threadSettings.restore(threadStates.settings as never, { ...thread, keepsParent: false }),
    );
    expect(calls.find(({ args: [option] }) => option === PR.PR_SET_PDEATHSIG)?.args[1]).toBe(0);
    const state = { ...(threadStates.settings as object), parentDeathSignal: 9 } as never;
    const remark = (keepsParent: boolean) => threadSettings.remark?.(state, { keepsParent } as HostView, asTid(7));
    expect(remark(false)).toBe(
      'thread 7 no longer gets signal 9 when its parent ends: that, or a thread of it, ends at once',
    );
    expect(remark(true)).toBeUndefined();
  });

  it('of core scheduling are told as lost, when it is saved and when it comes back', () => {
    const cookie: FakeKernel = ({ args: [option, , , , address = 0] }, memory) => {
      if (option === PR.PR_SCHED_CORE) memory(address).writeBigUInt64LE(0xffff_8880_0000_1000n, 0);
      return 0;
    };
    const state = collected(collectorOf(threadSettings), cookie);
    expect(threadSettings.loss?.(state as never, asTid(7))).toBe(
      'the core scheduling cookie of thread 7 is not in the image',
    );
    const host = { keepsParent: true } as HostView;
    expect(threadSettings.remark?.(state as never, host, asTid(7))).toMatch(/thread 7 has no core scheduling cookie/);
    expect(threadSettings.loss?.(threadStates.settings as never, asTid(7))).toBeUndefined();
  });

  it('of an I/O flusher and of CPUID are refused where they cannot be made again', () => {
    const host = { status: { capEffective: 0n } } as HostView;
    const codes = (changes: object): unknown[] =>
      (threadSettings.plan?.({ ...threadStates.settings, ...changes } as never, host, asTid(7)) ?? []).map(
        ({ code }) => code,
      );
    expect(codes({ ioFlusher: true })).toEqual(['io-flusher']);
    expect(codes({ ioFlusher: false })).toEqual([]);
    const canFault = readCpuinfo().flags.has('cpuid_fault');
    expect(codes({ ioFlusher: false, cpuidFaults: true })).toEqual(canFault ? [] : ['missing-cpu-feature']);
  });

  it('that a kernel or a processor does not know are as every thread has them', () => {
    const old: FakeKernel = ({ name, args: [option] }) =>
      name === 'arch_prctl' || option === PR.PR_SCHED_CORE || option === PR.PR_GET_IO_FLUSHER ? -ERRNO.EINVAL : 0;
    const none = { ioFlusher: false, cpuidFaults: false, coreScheduled: false };
    expect(collected(collectorOf(threadSettings), old)).toMatchObject(none);
    expect(collected(collectorOf(processSettings), old)).toMatchObject({ tileData: 0 });
  });

  it('of speculation that a thread has no choice in are 0', () => {
    const fixed: FakeKernel = ({ args: [option] }) =>
      option === PR.PR_GET_SPECULATION_CTRL ? PR.PR_SPEC_FORCE_DISABLE : 0;
    expect(collected(collectorOf(threadSettings), fixed)).toMatchObject({ speculation: [0, 0, 0] });
  });
});

describe('membarrier registrations', () => {
  const { MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED } = MEMBARRIER;
  const both = MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;

  it('are made again, each by its own command', () => {
    const { calls } = restored((process) => membarrier.restore({ registrations: both }, process));
    expect(calls.map(({ args }) => args[0]).sort((a = 0, b = 0) => a - b)).toEqual(
      [MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED].sort((a, b) => a - b),
    );
  });

  it('are read where the kernel tells them', () => {
    expect(collected(collectorOf(membarrier), () => both)).toEqual({ registrations: both });
    expect(collected(collectorOf(membarrier), () => 0)).toEqual({ registrations: 0 });
  });

  it('are all made where it does not', () => {
    const state = collected(collectorOf(membarrier), () => -ERRNO.EINVAL);
    expect(restored((process) => membarrier.restore(state, process)).calls).toHaveLength(4);
  });
});

describe('locking of what will be mapped', () => {
  const modeOf = (flagsOfNewMappings: string[]) => futureLocking.collect({ flagsOfNewMappings } as never)().mode;
  const locked = (mode: 'none' | 'all' | 'on-fault') =>
    restored((process) => futureLocking.restore({ mode }, process)).calls.map(({ name, args }) => [name, args[0]]);

  it('is seen at what we have mapped ourselves', () => {
    expect([modeOf(['rd', 'wr']), modeOf(['rd', 'lo']), modeOf(['lo', 'lf'])]).toEqual(['none', 'all', 'on-fault']);
  });

  it('is asked for as it was', () => {
    expect(locked('none')).toEqual([]);
    expect(locked('all')).toEqual([['mlockall', MLOCK.MCL_FUTURE]]);
    expect(locked('on-fault')).toEqual([['mlockall', MLOCK.MCL_FUTURE | MLOCK.MCL_ONFAULT]]);
  });
});

describe('a memory policy', () => {
  const nodes = Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]);

  it('is set with as many bits as it has', () => {
    const { calls, at } = restored((thread) => memoryPolicy.restore({ mode: 3, nodes }, thread));
    expect(calls).toMatchObject([{ name: 'set_mempolicy', args: [3, expect.any(Number), 64, 0, 0, 0] }]);
    expect(at(calls[0]?.args[1]).subarray(0, 8)).toEqual(nodes);
  });

  it('that is the default, or that the kernel has none of, is reset', () => {
    const none = collected(collectorOf(memoryPolicy), () => -ERRNO.ENOSYS);
    const byDefault = collected(collectorOf(memoryPolicy), () => 0);
    for (const state of [none, byDefault]) {
      expect(state).toEqual({ mode: 0, nodes: Buffer.alloc(0) });
      const { calls } = restored((thread) => memoryPolicy.restore(state, thread));
      expect(calls.map(({ name, args }) => [name, args[0]])).toEqual([['set_mempolicy', 0]]);
    }
  });
});

describe('policies of single mappings', () => {
  const BIND = 2;
  const mappings = [
    { ...mappingView('rw-p', ''), start: 0x10_0000, end: 0x10_1000 },
    { ...mappingView('rw-s', '/dev/shm/pool'), start: 0x20_0000, end: 0x20_1000 },
    { ...mappingView('rw-p', ''), start: 0x30_0000, end: 0x30_4000 },
  ];
  const read = (kernel: FakeKernel) =>
    collected(
      (source) => mappingPolicies.collect({ ...source, mappings } as never) as () => { start: number; mode: number }[],
      kernel,
    );

  it('are read of private mappings, and kept where there is one', () => {
    const asked: number[] = [];
    const found = read(({ args: [mode = 0, nodes = 0, bits, address = 0, flags] }, memory) => {
      expect([bits, flags]).toEqual([1024, 2]);
      asked.push(address);
      if (address !== 0x30_0000) return 0;
      memory(mode).writeUInt32LE(BIND, 0);
      memory(nodes).writeUInt8(5, 0);
      return 0;
    });
    expect(asked).toEqual([0x10_0000, 0x30_0000]);
    expect(found).toMatchObject([{ start: 0x30_0000, end: 0x30_4000, mode: BIND }]);
    const { calls, at } = restored((process) => mappingPolicies.restore(found as never, process));
    expect(calls).toMatchObject([{ name: 'mbind', args: [0x30_0000, 0x4000, BIND, expect.any(Number), 1024, 2] }]);
    expect(at(calls[0]?.args[3]).readUInt8(0)).toBe(5);
  });

  it('are none on a kernel without NUMA', () => {
    expect(read(() => -ERRNO.ENOSYS)).toEqual([]);
  });

  it('may be more than fit into one batch', () => {
    const many = Array.from({ length: 1000 }, (_, index) => ({ ...mappings[0], start: index * 4096 }));
    const collect = (source: { batch: object }) => mappingPolicies.collect({ ...source, mappings: many } as never);
    expect(collected(collect as never, () => 0)).toEqual([]);
  });

  it('and of threads are refused where none of their nodes may be used', () => {
    const host = (nodes: number[] | undefined) => ({ status: { memsAllowedList: nodes } }) as unknown as HostView;
    const state = { mode: BIND, nodes: Buffer.from([0b1010]) };
    const codes = (nodes: number[] | undefined, changes = {}) =>
      memoryPolicy.plan?.({ ...state, ...changes }, host(nodes), asTid(7)).map(({ code }) => code);
    expect(codes([0, 2])).toEqual(['no-memory-node']);
    for (const usable of [[1], [0, 3], undefined]) expect(codes(usable)).toEqual([]);
    expect(codes([0], { nodes: Buffer.alloc(128) })).toEqual([]);
    expect(codes([0], { mode: BIND | (1 << 14) })).toEqual([]);
    const mapping = [{ start: 0x1000, end: 0x2000, ...state }];
    expect(mappingPolicies.plan?.(mapping, host([0]), PID)).toMatchObject([{ path: ['pid 4242', 'mapping 0x1000'] }]);
  });
});

describe('a session', () => {
  const state = { leadsSession: false, leadsGroup: false, controllingTerminal: 0, inTree: false, isRoot: true };
  const callsFor = (changes: Partial<typeof state>): unknown[] =>
    restored((process) => session.restore({ ...state, ...changes }, process)).calls.map(({ name }) => name);

  it('is begun by a process that led one, which then leads a group too', () => {
    expect(callsFor({ leadsSession: true, leadsGroup: true })).toEqual(['setsid']);
  });

  it('that somebody else led is left as it is: the process leads a group', () => {
    expect(callsFor({ leadsGroup: true })).toEqual(['setpgid']);
    expect(callsFor({})).toEqual(['setpgid']);
  });

  it('is made with the tree, where the image has one', () => {
    expect(callsFor({ leadsSession: true, leadsGroup: true, inTree: true })).toEqual([]);
    expect(callsFor({ leadsGroup: true, inTree: true })).toEqual([]);
  });

  it('is told to have changed only where it has', () => {
    const host = {} as HostView;
    expect(session.remark?.({ ...state, isRoot: false }, PID, host)).toBeUndefined();
    expect(session.remark?.({ ...state, leadsSession: true, leadsGroup: true }, PID, host)).toBeUndefined();
    expect(session.remark?.({ ...state, leadsSession: true, controllingTerminal: 5 }, PID, host)).toMatch(/terminal/);
    expect(session.remark?.(state, PID, host)).toMatch(/session of the restart command, and .* process group/);
    expect(session.remark?.({ ...state, leadsGroup: true }, PID, host)).toMatch(/session of the restart command$/);
  });
});

describe('what the kernel keeps of a thread', () => {
  it('is its name, byte by byte, with a zero behind it', () => {
    const { calls, at } = restored((thread) => threadName.restore({ comm: 'worker \u00e9\u0001' }, thread));
    expect(calls).toMatchObject([{ name: 'prctl', args: [PR.PR_SET_NAME, expect.any(Number), 0, 0, 0, 0] }]);
    const name = Buffer.alloc(16);
    name.write('worker \u00e9\u0001', 'latin1');
    expect(at(calls[0]?.args[1]).subarray(0, 16)).toEqual(name);
  });

  it('are its pointers, the restartable sequence last, because the kernel writes there at once', () => {
    const { robustList, robustListSize, clearTid, rseq } = threadStates.threadPointers;
    const { calls } = restored((thread) => threadPointers.restore(threadStates.threadPointers, thread));
    expect(calls.map(({ name, args }) => [name, ...args.slice(0, 4)])).toEqual([
      ['set_robust_list', Number(robustList), Number(robustListSize), 0, 0],
      ['i386 set_robust_list', 0xffff_eff0, 12, 0, 0],
      ['set_tid_address', Number(clearTid), 0, 0, 0],
      ['rseq', Number(rseq.address), rseq.sizeBytes, 0, rseq.signature],
    ]);
  });

  it('are no pointers that it never had', () => {
    const none = {
      robustList: 0n,
      robustListSize: 24n,
      compatRobustList: 0,
      clearTid: 0n,
      rseq: { address: 0n, sizeBytes: 0, signature: 0 },
    };
    const { calls } = restored((thread) => threadPointers.restore(none, thread));
    expect(calls.map(({ name, args }) => [name, args[0]])).toEqual([['set_tid_address', 0]]);
  });
});
