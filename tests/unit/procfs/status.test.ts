import { describe, expect, it } from 'vitest';
import { parseStatus, readStatus, readTaskStatus } from '../../../src/procfs/status.ts';
import { asPid, asTid } from '../../../src/support/brand.ts';

const STATUS = `Name:	a) R\\nb\\\\
Umask:	0022
State:	t (tracing stop)
Tgid:	4386
Ngid:	0
Pid:	4387
PPid:	4379
TracerPid:	99
Uid:	1000	1001	1002	1003
Gid:	0	1	2	3
FDSize:	256
Groups:	4 27 4294967294 
NStgid:	4386	1
NSpid:	4387	2
NSpgid:	4379	0
NSsid:	3123	0
Kthread:	0
VmPeak:	    3060 kB
VmSize:	    3050 kB
VmLck:	       1 kB
VmPin:	       2 kB
VmHWM:	    1672 kB
VmRSS:	    1671 kB
RssAnon:	     112 kB
RssFile:	    1560 kB
RssShmem:	       0 kB
VmData:	     360 kB
VmStk:	     132 kB
VmExe:	      20 kB
VmLib:	    1528 kB
VmPTE:	      44 kB
VmSwap:	       5 kB
HugetlbPages:	       0 kB
CoreDumping:	0
THP_enabled:	1
untag_mask:	0xffffffffffffffff
Threads:	2
SigQ:	1/96365
SigPnd:	0000000000000001
ShdPnd:	0000000000000002
SigBlk:	8000000000000000
SigIgn:	0000000000001000
SigCgt:	fffffffe7ffbfeff
CapInh:	0000000000000000
CapPrm:	000001fffeffffff
CapEff:	000001fffeffffff
CapBnd:	000001fffeffffff
CapAmb:	0000000000000001
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	3
Speculation_Store_Bypass:	vulnerable
SpeculationIndirectBranch:	always enabled
Cpus_allowed:	1,00000003
Cpus_allowed_list:	0-1,32
Mems_allowed:	00000000,00000001
Mems_allowed_list:	0
voluntary_ctxt_switches:	0
nonvoluntary_ctxt_switches:	0
x86_Thread_features:	shstk wrss 
x86_Thread_features_locked:	
`;

describe('parseStatus', () => {
  it('reads every field', () => {
    expect(parseStatus(STATUS)).toEqual({
      name: 'a) R\nb\\',
      umask: 0o22,
      state: 't',
      tgid: 4386,
      ngid: 0,
      pid: 4387,
      ppid: 4379,
      tracerPid: 99,
      uid: { real: 1000, effective: 1001, saved: 1002, filesystem: 1003 },
      gid: { real: 0, effective: 1, saved: 2, filesystem: 3 },
      groups: [4, 27, 4294967294],
      fdSize: 256,
      nsTgid: [4386, 1],
      nsPid: [4387, 2],
      nsPgid: [4379, 0],
      nsSid: [3123, 0],
      kernelThread: false,
      memory: {
        peakKiB: 3060,
        sizeKiB: 3050,
        lockedKiB: 1,
        pinnedKiB: 2,
        residentPeakKiB: 1672,
        residentKiB: 1671,
        dataKiB: 360,
        stackKiB: 132,
        executableKiB: 20,
        pageTablesKiB: 44,
        swapKiB: 5,
        hugetlbKiB: 0,
      },
      coreDumping: false,
      thpEnabled: true,
      untagMask: 0xffffffffffffffffn,
      threads: 2,
      signalQueue: { queued: 1, limit: 96365 },
      pendingSignals: 1n,
      sharedPendingSignals: 2n,
      blockedSignals: 0x8000000000000000n,
      ignoredSignals: 0x1000n,
      caughtSignals: 0xfffffffe7ffbfeffn,
      capInheritable: 0n,
      capPermitted: 0x1fffeffffffn,
      capEffective: 0x1fffeffffffn,
      capBounding: 0x1fffeffffffn,
      capAmbient: 1n,
      noNewPrivs: true,
      seccompMode: 2,
      seccompFilters: 3,
      speculationStoreBypass: 'vulnerable',
      speculationIndirectBranch: 'always enabled',
      x86ThreadFeatures: ['shstk', 'wrss'],
      x86ThreadFeaturesLocked: [],
      cpusAllowed: 0x100000003n,
      cpusAllowedList: [0, 1, 32],
      memsAllowedList: [0],
    });
  });

  it('leaves out what an older kernel or a kernel thread lacks', () => {
    const absent =
      /^(Umask|Kthread|Vm\w+|Rss\w+|HugetlbPages|CoreDumping|THP_enabled|untag_mask|Seccomp\w*|x86_\w+|Spec\w+|Mems\w+|NS\w+):.*\n/gm;
    expect(parseStatus(STATUS.replace(absent, ''))).toMatchObject({
      umask: undefined,
      kernelThread: undefined,
      memory: undefined,
      thpEnabled: undefined,
      untagMask: undefined,
      seccompMode: undefined,
      seccompFilters: undefined,
      x86ThreadFeatures: undefined,
      memsAllowedList: undefined,
      nsPid: undefined,
    });
  });

  it.each([
    ['an empty text', ''],
    ['garbage', 'garbage'],
    ['a missing mask', STATUS.replace(/SigBlk.*\n/, '')],
    ['a cut text', STATUS.slice(0, 600)],
    ['three uids', STATUS.replace('\t1003', '')],
    ['five uids', STATUS.replace('\t1003', '\t1003\t4')],
    ['a state without a letter', STATUS.replace('t (tracing stop)', '?')],
    ['a mask that is none', STATUS.replace('8000000000000000', '-1')],
    ['a reversed list', STATUS.replace('0-1,32', '5-1')],
    ['a huge list', STATUS.replace('0-1,32', '0-99999999999')],
    ['a flag of 2', STATUS.replace('NoNewPrivs:\t1', 'NoNewPrivs:\t2')],
    ['a size without its unit', STATUS.replace('3050 kB', '3050')],
  ])('refuses %s', (_, text) => {
    expect(() => parseStatus(text)).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });
});

describe('readStatus', () => {
  it('reads this process and its first task', () => {
    const status = readStatus(asPid(process.pid));
    expect(status).toMatchObject({ pid: process.pid, tgid: process.pid, ppid: process.ppid });
    expect(status.uid.real).toBe(process.getuid?.());
    expect(status.memory?.residentKiB).toBeGreaterThan(1000);
    expect(readTaskStatus(asPid(process.pid), asTid(process.pid)).tgid).toBe(process.pid);
  });

  it('says that there is no such process or task', () => {
    expect(() => readStatus(asPid(4194305))).toThrow(
      expect.objectContaining({ code: 'no-such-process', message: 'There is no process 4194305.' }),
    );
    expect(() => readTaskStatus(asPid(process.pid), asTid(4194305))).toThrow(
      expect.objectContaining({ code: 'no-such-task' }),
    );
  });
});
