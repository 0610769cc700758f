/** Every constant, size and offset of src/kernel/abi against the headers of this system. */
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { aioAbi } from '../../src/kernel/abi/aio.ts';
import { bpfAbi } from '../../src/kernel/abi/bpf.ts';
import { capabilityAbi } from '../../src/kernel/abi/capability.ts';
import type { AbiModule } from '../../src/kernel/abi/define-abi.ts';
import { elfAbi } from '../../src/kernel/abi/elf.ts';
import { errnoAbi } from '../../src/kernel/abi/errno.ts';
import { fanotifyAbi } from '../../src/kernel/abi/fanotify.ts';
import { fcntlAbi } from '../../src/kernel/abi/fcntl.ts';
import { fsAbi } from '../../src/kernel/abi/fs.ts';
import { futexAbi } from '../../src/kernel/abi/futex.ts';
import { inetAbi } from '../../src/kernel/abi/inet.ts';
import { inotifyAbi } from '../../src/kernel/abi/inotify.ts';
import { ioUringAbi } from '../../src/kernel/abi/io-uring.ts';
import { ioctlAbi } from '../../src/kernel/abi/ioctl.ts';
import { itimerAbi } from '../../src/kernel/abi/itimer.ts';
import { lsmAbi } from '../../src/kernel/abi/lsm.ts';
import { membarrierAbi } from '../../src/kernel/abi/membarrier.ts';
import { mmanAbi } from '../../src/kernel/abi/mman.ts';
import { netlinkAbi } from '../../src/kernel/abi/netlink.ts';
import { nfTablesAbi } from '../../src/kernel/abi/nf-tables.ts';
import { packetAbi } from '../../src/kernel/abi/packet.ts';
import { personalityAbi } from '../../src/kernel/abi/personality.ts';
import { pollAbi } from '../../src/kernel/abi/poll.ts';
import { prctlAbi } from '../../src/kernel/abi/prctl.ts';
import { procfsAbi } from '../../src/kernel/abi/procfs.ts';
import { ptraceAbi } from '../../src/kernel/abi/ptrace.ts';
import { resourceAbi } from '../../src/kernel/abi/resource.ts';
import { rseqAbi } from '../../src/kernel/abi/rseq.ts';
import { schedAbi } from '../../src/kernel/abi/sched.ts';
import { seccompAbi } from '../../src/kernel/abi/seccomp.ts';
import { shmAbi } from '../../src/kernel/abi/shm.ts';
import { signalAbi } from '../../src/kernel/abi/signal.ts';
import { socketAbi } from '../../src/kernel/abi/socket.ts';
import { statAbi } from '../../src/kernel/abi/stat.ts';
import { syscallAbi } from '../../src/kernel/abi/syscall.ts';
import { syscallI386Abi } from '../../src/kernel/abi/syscall-i386.ts';
import { messageAbi, semaphoreAbi } from '../../src/kernel/abi/system-v.ts';
import { userfaultfdAbi } from '../../src/kernel/abi/userfaultfd.ts';
import { waitAbi } from '../../src/kernel/abi/wait.ts';
import { expectedFacts, factsOfHeaders, hasCompiler } from './c-program.ts';

const MODULES: Record<string, AbiModule> = {
  'aio.ts': aioAbi,
  'bpf.ts': bpfAbi,
  'capability.ts': capabilityAbi,
  'elf.ts': elfAbi,
  'errno.ts': errnoAbi,
  'fanotify.ts': fanotifyAbi,
  'fcntl.ts': fcntlAbi,
  'fs.ts': fsAbi,
  'futex.ts': futexAbi,
  'inet.ts': inetAbi,
  'inotify.ts': inotifyAbi,
  'ioctl.ts': ioctlAbi,
  'io-uring.ts': ioUringAbi,
  'itimer.ts': itimerAbi,
  'lsm.ts': lsmAbi,
  'membarrier.ts': membarrierAbi,
  'mman.ts': mmanAbi,
  'netlink.ts': netlinkAbi,
  'nf-tables.ts': nfTablesAbi,
  'packet.ts': packetAbi,
  'personality.ts': personalityAbi,
  'poll.ts': pollAbi,
  'prctl.ts': prctlAbi,
  'procfs.ts': procfsAbi,
  'ptrace.ts': ptraceAbi,
  'resource.ts': resourceAbi,
  'rseq.ts': rseqAbi,
  'sched.ts': schedAbi,
  'seccomp.ts': seccompAbi,
  'shm.ts': shmAbi,
  'system-v.ts': {
    ...semaphoreAbi,
    headers: [...semaphoreAbi.headers, ...messageAbi.headers],
    constants: { ...semaphoreAbi.constants, ...messageAbi.constants },
    structs: { ...semaphoreAbi.structs, ...messageAbi.structs },
  },
  'signal.ts': signalAbi,
  'socket.ts': socketAbi,
  'stat.ts': statAbi,
  'syscall-i386.ts': syscallI386Abi,
  'syscall.ts': syscallAbi,
  'userfaultfd.ts': userfaultfdAbi,
  'wait.ts': waitAbi,
};

/** `NAME: ours, the header's` for each difference. */
function differences(module: AbiModule): string[] {
  const ours = expectedFacts(module);
  const theirs = factsOfHeaders(module);
  const found: string[] = [];
  for (const [expression, value] of ours) {
    const real = theirs.get(expression);
    if (real === undefined && module.unlisted !== undefined && expression in module.unlisted) continue;
    if (real !== value) found.push(`${expression}: ${value}, but ${real} in the headers`);
  }
  return found;
}

describe('the kernel interface', () => {
  it.for(Object.entries(MODULES))('%s agrees with the headers of this system', ([, module], context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    expect(differences(module)).toEqual([]);
  });

  it.each(Object.entries(MODULES))('%s has checks', (_, module) => {
    const unlisted = Object.keys(module.unlisted ?? {}).length;
    expect(expectedFacts(module).size - unlisted).toBeGreaterThan(0);
    expect(Object.keys(module.constants)).toEqual(expect.arrayContaining(Object.keys(module.unlisted ?? {})));
  });

  it('is checked in every file of its folder', () => {
    const files = readdirSync(new URL('../../src/kernel/abi/', import.meta.url));
    expect(files.filter((file) => file !== 'define-abi.ts').sort()).toEqual(Object.keys(MODULES).sort());
  });

  it('notices a wrong constant, a wrong size and a wrong offset', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const wrong: AbiModule = {
      headers: ['sys/resource.h'],
      constants: { RLIMIT_CPU: 1 },
      structs: { rlimit: { size: 24, fields: { rlim_max: [4, 'u32'] } } },
    };
    expect(differences(wrong)).toHaveLength(4);
  });
});
