/** What single aspects of a process ask the kernel, and make of its answers. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import { itimerAbi } from '../../../src/kernel/abi/itimer.ts';
import { PR, prctlAbi } from '../../../src/kernel/abi/prctl.ts';
import { RLIMIT } from '../../../src/kernel/abi/resource.ts';
import { NSIG, signalAbi } from '../../../src/kernel/abi/signal.ts';
import { getLimit } from '../../../src/kernel/calls/task-attributes.ts';
import { structOf } from '../../../src/kernel/struct.ts';
import { readMaps } from '../../../src/procfs/smaps.ts';
import { readStatus } from '../../../src/procfs/status.ts';
import { credentials } from '../../../src/resources/process/credentials.ts';
import { fileSystemContext } from '../../../src/resources/process/file-system-context.ts';
import { intervalTimers } from '../../../src/resources/process/interval-timers.ts';
import { limits } from '../../../src/resources/process/limits.ts';
import { memoryMapFields } from '../../../src/resources/process/memory-map-fields.ts';
import { procFiles } from '../../../src/resources/process/proc-files.ts';
import { signalActions } from '../../../src/resources/process/signal-actions.ts';
import { surroundings } from '../../../src/resources/process/surroundings.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { signalStack } from '../../../src/resources/thread/signal-stack.ts';
import { asPid } from '../../../src/support/brand.ts';
import { newFile, newFolder } from './folder.ts';
import { collected, collectorOf, PID, restored } from './in-a-batch.ts';
import { EXECUTABLE, limits as limitStates, processStates, threadStates } from './samples.ts';

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const own = asPid(process.pid);
const host = (status: Partial<HostView['status']> = {}): HostView => ({
  ownPid: own,
  acceptChangedFiles: false,
  keepsParent: true,
  maySetTimerNumbers: true,
  status: { ...readStatus(own), ...status },
});
const CAP_SYS_RESOURCE = 1n << 24n;

describe('the surroundings', () => {
  const here = (): never => {
    const read = collectorOf(surroundings) as unknown as (source: object) => () => never;
    return read({ pid: own, speaker: own, tids: [own], mappings: readMaps(own) })();
  };
  const remark = (changes: object): string | undefined =>
    surroundings.remark?.({ ...(here() as object), ...changes } as never, PID, host());

  it('are not worth a word where they are those of this command, or not known', () => {
    expect(remark({})).toBeUndefined();
    expect(remark({ cgroups: [], label: '', loginUid: '', vsyscall: '' })).toBeUndefined();
  });

  it('are told where they differ', () => {
    const { loginUid } = here() as { loginUid: string };
    expect(remark({ label: 'unconfined_t' })).toMatch(/^its security label was unconfined_t, is /);
    expect(remark({ loginUid: '4711' })).toMatch(/^its login uid was 4711, is (\d+|none)$/);
    if (loginUid === '4294967295') expect(remark({ loginUid: '7' })).toContain('is none');
  });

  it('are told where this kernel has less of a vsyscall page', () => {
    const { vsyscall } = here() as { vsyscall: string };
    expect(remark({ vsyscall: '' })).toBeUndefined();
    const told = remark({ vsyscall: 'r-x' });
    if (vsyscall === 'r-x') expect(told).toBeUndefined();
    else expect(told).toBe(`its kernel had a vsyscall page (r-x), this one has ${vsyscall || 'none'}`);
  });
});

describe('interval timers', () => {
  const itimerval = structOf(itimerAbi.structs.itimerval);

  it('are set with the rest that they had; one that stood still is left alone', () => {
    const { calls, at } = restored((process) => intervalTimers.restore(processStates.intervalTimers, process));
    expect(calls.map(({ name, args: [which] }) => [name, which])).toEqual([
      ['setitimer', 0],
      ['setitimer', 2],
    ]);
    const real = itimerval.read(viewOf(at(calls[0]?.args[1])));
    expect(Object.values(real)).toEqual([1n, 999_999n, 2n ** 62n, 1n]);
  });

  it('are read as they are set', () => {
    const inKernel = Object.values(processStates.intervalTimers);
    const found = collected(collectorOf(intervalTimers), ({ name, args: [which = 0, address = 0] }, memory) => {
      expect(name).toBe('getitimer');
      const timer = inKernel[which];
      [timer?.intervalSec, timer?.intervalUsec, timer?.leftSec, timer?.leftUsec].forEach((value, index) => {
        memory(address).writeBigInt64LE(value ?? 0n, index * 8);
      });
      return 0;
    });
    expect(found).toEqual(processStates.intervalTimers);
  });

  it('count seconds before microseconds, as struct itimerval does', () => {
    const fields = itimerAbi.structs.itimerval.fields;
    expect(Object.entries(fields).map(([name, [offset]]) => [name, offset])).toEqual([
      ['it_interval.tv_sec', 0],
      ['it_interval.tv_usec', 8],
      ['it_value.tv_sec', 16],
      ['it_value.tv_usec', 24],
    ]);
  });
});

describe('signal actions', () => {
  const sigaction = structOf(signalAbi.structs.kernel_sigaction);
  const changeable = Array.from({ length: NSIG }, (_, index) => index + 1).filter((one) => one !== 9 && one !== 19);

  it('are set for every signal that can have one, because the new process has inherited others', () => {
    const { calls } = restored((process) => signalActions.restore([], process));
    expect(calls.map(({ name, args: [signal] }) => [name, signal])).toEqual(
      changeable.map((signal) => ['rt_sigaction', signal]),
    );
    expect(calls.every(({ args: [, , old, size] }) => old === 0 && size === 8)).toBe(true);
  });

  it('have handler, flags, restorer and mask where the kernel looks for them, and zeros where there is none', () => {
    const { calls, at } = restored((process) => signalActions.restore([...processStates.signalActions], process));
    const bySignal = new Map(
      calls.map(({ args: [signal, address] }) => [signal, at(address).subarray(0, sigaction.size)]),
    );
    const interrupt = bySignal.get(2);
    expect(interrupt?.equals(sigaction.encode({ handler: 1, sa_flags: 0x0400_0000n }))).toBe(true);
    const last = bySignal.get(64);
    expect([0, 8, 16, 24].map((offset) => last?.readBigUInt64LE(offset))).toEqual([
      2n ** 63n,
      0x1400_0004n,
      0x40_2000n,
      2n ** 64n - 1n,
    ]);
    expect(bySignal.get(15)?.equals(Buffer.alloc(32))).toBe(true);
  });

  it('of a 32-bit program are set by the calls of i386, in its structure', () => {
    const { calls, at } = restored((process) => signalActions.restore([...processStates.signalActions], process), true);
    expect(new Set(calls.map(({ name }) => name))).toEqual(new Set(['i386 rt_sigaction']));
    const [, address] = calls.at(-1)?.args ?? [];
    const last = at(address);
    expect([0, 4, 8].map((offset) => last.readUInt32LE(offset))).toEqual([0, 0x1400_0004, 0x40_2000]);
    expect(last.readBigUInt64LE(12)).toBe(2n ** 64n - 1n);
  });

  it('that are the default are left out of the image, an ignored signal is not', () => {
    const found = collected(collectorOf(signalActions), ({ args: [signal, , address = 0] }, memory) => {
      if (signal === 1) memory(address).writeBigUInt64LE(1n, 0);
      if (signal === 10) memory(address).writeBigUInt64LE(0x8000_0000n, 8);
      if (signal === 33) memory(address).writeBigUInt64LE(4n, 24);
      return 0;
    });
    expect(found).toEqual([
      { signal: 1, handler: 1n, flags: 0n, restorer: 0n, mask: 0n },
      { signal: 10, handler: 0n, flags: 0x8000_0000n, restorer: 0n, mask: 0n },
      { signal: 33, handler: 0n, flags: 0n, restorer: 0n, mask: 4n },
    ]);
  });
});

describe('limits', () => {
  it('are read and set with one call for each that there is', () => {
    const { calls, at } = restored((process) => limits.restore(limitStates as never, process));
    const found = calls.map(({ name, args: [pid, which, wanted, old] }) => {
      const bytes = at(wanted);
      return [name, pid, which, bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8), old];
    });
    const infinity = 2n ** 64n - 1n;
    expect(found).toEqual(
      Array.from({ length: RLIMIT.RLIM_NLIMITS }, (_, which) => ['prlimit64', 0, which, BigInt(which), infinity, 0]),
    );
    const read = collected(collectorOf(limits), ({ args: [, which = 0, wanted, address = 0] }, memory) => {
      expect(wanted).toBe(0);
      memory(address).writeBigUInt64LE(BigInt(which), 0);
      memory(address).writeBigUInt64LE(infinity, 8);
      return 0;
    });
    expect(read).toEqual(limitStates);
  });

  // The one limit whose hard value is 0 wherever nobody has raised it.
  const { hard } = getLimit(own, RLIMIT.RLIMIT_NICE);
  const state = (value: bigint) => ({ RLIMIT_NICE: { soft: 0n, hard: value } }) as never;

  it('above our own need CAP_SYS_RESOURCE', () => {
    const problems = limits.plan?.(state(hard + 1n), host({ capEffective: ~CAP_SYS_RESOURCE }), PID);
    expect(problems).toMatchObject([{ code: 'limit-too-high', path: [`pid ${PID}`, 'limits', 'RLIMIT_NICE'] }]);
    expect(limits.plan?.(state(hard + 1n), host({ capEffective: CAP_SYS_RESOURCE }), PID)).toEqual([]);
  });

  it('up to our own need nothing', () => {
    expect(limits.plan?.(state(hard), host({ capEffective: 0n }), PID)).toEqual([]);
  });
});

describe('the fields of the memory map', () => {
  const { calls, at } = restored((process) => memoryMapFields.restore(processStates.memoryMapFields, process));
  const [call] = calls;
  const map = structOf(prctlAbi.structs.prctl_mm_map).read(viewOf(at(call?.args[2])));

  it('are set all at once', () => {
    expect(calls).toHaveLength(1);
    expect(call).toMatchObject({
      name: 'prctl',
      args: [PR.PR_SET_MM, PR.PR_SET_MM_MAP, expect.any(Number), prctlAbi.structs.prctl_mm_map.size, 0, 0],
    });
  });

  it('stand where struct prctl_mm_map has them', () => {
    const state = processStates.memoryMapFields;
    expect(map).toMatchObject({
      start_code: state.startCode,
      end_code: state.endCode,
      start_data: state.startData,
      end_data: state.endData,
      start_brk: state.startBrk,
      brk: state.brk,
      start_stack: state.startStack,
      arg_start: state.argStart,
      arg_end: state.argEnd,
      env_start: state.envStart,
      env_end: state.envEnd,
      exe_fd: 100 + EXECUTABLE,
    });
  });

  it('have the auxiliary vector as it was', () => {
    expect(map.auxv_size).toBe(32);
    expect(at(map.auxv).subarray(0, map.auxv_size)).toEqual(processStates.memoryMapFields.auxv);
  });
});

describe('credentials', () => {
  const status = readStatus(own);
  const { uid, gid, groups, capInheritable, capPermitted, capEffective, capBounding, capAmbient } = status;
  const same = {
    ...{ uid, gid, groups: [...groups], capInheritable, capPermitted, capEffective, capBounding, capAmbient },
    securebits: 0,
  };

  it('that are our own are no problem', () => {
    expect(credentials.plan?.(same, host(), PID)).toEqual([]);
  });

  /** Of a command that has few rights. */
  const SETPCAP = 1n << 8n;
  const poor = { capInheritable: 0n, capPermitted: 2n, capEffective: 2n, capBounding: 0xffn, capAmbient: 0n };
  const samePoor = { ...same, ...poor };
  const others: [string, Partial<typeof same>][] = [
    ['uid', { uid: { ...uid, effective: uid.effective + 1 } }],
    ['uid', { uid: { ...uid, filesystem: uid.filesystem + 1 } }],
    ['gid', { gid: { ...gid, saved: gid.saved + 1 } }],
    ['groups', { groups: [...groups, 4_000_000_000] }],
    ['capPermitted', { capPermitted: 6n }],
    ['capBounding', { capBounding: 0x1ffn }],
    ['capInheritable', { capInheritable: 0x100n }],
    ['right to set securebits', { securebits: 4 }],
    ['right to set securebits', { capBounding: 0x7fn }],
  ];
  it.each(others)('with other %s are refused by name where the command may not give them (%#)', (name, change) => {
    const problems = credentials.plan?.({ ...samePoor, ...change }, host(poor), PID);
    expect(problems).toMatchObject([{ code: 'other-credentials', message: expect.stringContaining(name) }]);
  });

  it('that differ in several things are one problem that names them all', () => {
    const change = { capPermitted: 6n, uid: { ...uid, real: 7 } };
    const problems = credentials.plan?.({ ...samePoor, ...change }, host(poor), PID);
    expect(problems).toMatchObject([{ message: expect.stringContaining("this command's uid, capPermitted differ") }]);
  });

  it('that are fewer than those of the command are given by it', () => {
    const rich = {
      ...poor,
      capPermitted: 0xffn | SETPCAP,
      capEffective: 0xffn | SETPCAP,
      capBounding: 0xffn | SETPCAP,
    };
    const fewer = { ...samePoor, uid: { real: 1, effective: 2, saved: 3, filesystem: 4 }, groups: [9], securebits: 4 };
    expect(credentials.plan?.(fewer, host(rich), PID)).toEqual([]);
  });

  it('of which some groups had no number are those of the command, if it has as many', () => {
    const own = host({ ...poor, groups: [5, 6, 7] });
    const plan = (groups: number[], namelessGroups: number) =>
      credentials.plan?.({ ...samePoor, groups, namelessGroups }, own, PID);
    expect(plan([6], 2)).toEqual([]);
    for (const [groups, nameless] of [
      [[6], 1],
      [[8], 2],
      [[], 4],
    ] as const) {
      expect(plan([...groups], nameless)).toMatchObject([
        { code: 'other-credentials', message: expect.stringContaining(`no number for ${nameless} of its groups`) },
      ]);
    }
  });

  it.each([
    ['effective', { capPermitted: 2n, capEffective: 6n }],
    ['ambient', { capAmbient: 2n }],
  ])('whose %s capabilities nobody could have are no state', (_, change) => {
    expect(() => parseState(credentials.schema, { ...samePoor, ...change }, 'here')).toThrow(
      /capabilities that are permitted/,
    );
  });
});

describe('the working directory', () => {
  const plan = (workingDirectory: string) => fileSystemContext.plan?.({ workingDirectory, umask: 0 }, host(), PID);

  it('must be there, and be a directory', () => {
    const folder = newFolder();
    mkdirSync(join(folder, 'there'));
    expect(plan(join(folder, 'there'))).toEqual([]);
    for (const path of [join(folder, 'gone'), newFile()]) {
      expect(plan(path)).toMatchObject([{ code: 'missing-directory', message: expect.stringContaining(path) }]);
    }
  });

  it('is entered, and the umask set', () => {
    const state = { workingDirectory: '/srv/é', umask: 0o27 };
    const { calls, at } = restored((process) => fileSystemContext.restore(state, process));
    const [change, mask] = calls;
    expect([change?.name, mask?.name, mask?.args[0]]).toEqual(['chdir', 'umask', 0o27]);
    expect(at(change?.args[0]).subarray(0, 8).toString()).toBe('/srv/é\0');
  });
});

describe('oom_score_adj', () => {
  const read = procFiles.collect({ pid: own, speaker: own } as never)();
  const plan = (difference: number, capEffective: bigint) =>
    procFiles.plan?.(
      { ...read, oomScoreAdjustment: read.oomScoreAdjustment + difference },
      host({ capEffective }),
      PID,
    );

  it('below our own needs CAP_SYS_RESOURCE', () => {
    expect(plan(-1, ~CAP_SYS_RESOURCE)).toMatchObject([{ code: 'oom-score-too-low' }]);
    expect(plan(-1, CAP_SYS_RESOURCE)).toEqual([]);
  });

  it('from our own on needs nothing', () => {
    expect([plan(0, 0n), plan(1, 0n)]).toEqual([[], []]);
  });
});

describe('the signal stack', () => {
  const stack = structOf(signalAbi.structs.stack);
  const SS_ONSTACK = 1;

  it('is set as struct stack_t has it', () => {
    const { calls, at } = restored((thread) => signalStack.restore(threadStates.signalStack, thread));
    expect(calls).toMatchObject([{ name: 'sigaltstack', args: [expect.any(Number), 0, 0, 0, 0, 0] }]);
    const { ss_sp, ss_flags, ss_size } = stack.read(viewOf(at(calls[0]?.args[0])));
    expect([ss_sp, ss_flags >>> 0, ss_size]).toEqual([0x7f00_0000_0000, 0x8000_0000, 8192n]);
  });

  it('is read without the note that the thread is just on it', () => {
    const found = collected(collectorOf(signalStack), ({ args: [, address = 0] }, memory) => {
      stack.write(viewOf(memory(address)), 0, { ss_sp: 0x7000, ss_flags: 0x8000_0000 | SS_ONSTACK | 0, ss_size: 5n });
      return 0;
    });
    expect(found).toEqual({ address: 0x7000n, flags: 0x8000_0000, sizeBytes: 5n });
  });
});
