/** What the plan and the rebuilding ask of this host. */
import { createHash } from 'node:crypto';
import { stubProgram32 } from '../arch/x86/stub-elf.ts';
import type { XstateLayout } from '../arch/x86/xstate.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { executableFromBytes } from '../kernel/calls/descriptors.ts';
import { interruptIfAlive, trySeize } from '../kernel/calls/ptrace.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { timersMayChooseNumbers } from '../kernel/calls/timers.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { xsaveLayout } from '../kernel/cpu.ts';
import { probeDroppableMemory, probeGuardPages, probeMemoryNames, probeSealing } from '../kernel/features.ts';
import { type AioLimits, readAioLimits } from '../procfs/aio.ts';
import { readCpuinfo } from '../procfs/cpuinfo.ts';
import { availableHugePages } from '../procfs/huge-pages.ts';
import { readMaps } from '../procfs/smaps.ts';
import { readStatus } from '../procfs/status.ts';
import type { ClockChoice } from '../resources/clock-choice.ts';
import { mayChoosePids } from '../resources/pid-choice.ts';
import type { HostView } from '../resources/resource.ts';
import { asPid, asTid, type Pid, type Tid } from '../support/brand.ts';
import { endOfSectionHeaders } from '../support/elf-extent.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import { TaskGoneError, waitForInterruptStop } from '../tracee/stopped-task.ts';
import { type CgroupChoice, type CgroupHost, lookAtCgroups } from './cgroups.ts';

export interface RestartHost extends HostView {
  readonly layout: XstateLayout;
  readonly cpuFeatures: ReadonlySet<string>;
  /** What the kernel maps into every 64-bit process. */
  readonly kernelMemory: KernelMemory;
  /** The same of 32-bit processes. Undefined if this kernel runs none. Asked only where it is needed: a process is made. */
  readonly kernelMemory32: () => KernelMemory | undefined;
  readonly mayChoosePids: boolean;
  /** Undefined: as the program had it. */
  readonly clock: ClockChoice | undefined;
  readonly cgroups: CgroupHost;
  /** PR_SET_VMA_ANON_NAME, a configuration of the kernel. */
  readonly mayNameMemory: boolean;
  /** What younger kernels have of memory. */
  readonly memoryFeatures: ReadonlySet<MemoryFeature>;
  /** Of this size in bytes, that new mappings can have. */
  readonly availableHugePages: (pageBytes: number) => number;
  readonly roomForAio: () => AioLimits;
}

export type MemoryFeature = 'guard-pages' | 'sealing' | 'droppable';

export interface KernelMemory {
  readonly vdsoSha256: string;
  /** The vDSO itself, up to the end of its section headers. */
  readonly vdso: Buffer;
  /** Mappings that the kernel makes in every process, by name. Where they start differs, their distances do not. */
  readonly mappings: ReadonlyMap<string, { readonly start: number; readonly sizeBytes: number }>;
}

export function lookAtHost(
  request: Pick<HostView, 'acceptChangedFiles' | 'keepsParent'> &
    Partial<Pick<RestartHost, 'clock'>> & { readonly cgroups?: CgroupChoice | undefined },
): RestartHost {
  const ownPid = asPid(process.pid);
  const status = readStatus(ownPid);
  return {
    ownPid,
    status,
    acceptChangedFiles: request.acceptChangedFiles,
    keepsParent: request.keepsParent,
    clock: request.clock,
    cgroups: lookAtCgroups(ownPid, request.cgroups ?? 'join'),
    maySetTimerNumbers: timersMayChooseNumbers(),
    layout: xsaveLayout(),
    cpuFeatures: readCpuinfo().flags,
    kernelMemory: kernelMemoryOf(ownPid),
    kernelMemory32: lookAt32BitProcess,
    mayChoosePids: mayChoosePids(status),
    mayNameMemory: probeMemoryNames().available,
    memoryFeatures: memoryFeatures(),
    availableHugePages,
    roomForAio: readAioLimits,
  };
}

function memoryFeatures(): Set<MemoryFeature> {
  const features = new Set<MemoryFeature>();
  if (probeGuardPages().available) features.add('guard-pages');
  if (probeSealing().available) features.add('sealing');
  if (probeDroppableMemory().available) features.add('droppable');
  return features;
}

function kernelMemoryOf(pid: Pid): KernelMemory {
  const special = readMaps(pid).filter((entry) => entry.special !== undefined);
  const vdso = special.find((entry) => entry.special === '[vdso]');
  const image = vdso === undefined ? Buffer.alloc(0) : readRemote(pid, vdso.start, vdso.end - vdso.start);
  // The ELF image only: behind it there may be something of a debugger's.
  const elf = image.subarray(0, endOfSectionHeaders(image));
  return {
    vdsoSha256: vdso === undefined ? '' : createHash('sha256').update(elf).digest('hex'),
    vdso: elf,
    mappings: new Map(special.map(({ special = '', start, end }) => [special, { start, sizeBytes: end - start }])),
  };
}

/** Any address below 4 GiB that is free in a new process. */
const STUB_ADDRESS = 0x1000_0000;

function lookAt32BitProcess(): KernelMemory | undefined {
  const executable = executableFromBytes('quicksave', stubProgram32(STUB_ADDRESS, process.pid).image);
  try {
    const pid = spawnProgram(executable.number);
    try {
      awaitFirstInstruction(asTid(pid));
      return kernelMemoryOf(pid);
    } catch (error) {
      // A kernel without 32-bit programs has not executed it, and it has ended.
      if (error instanceof TaskGoneError) return undefined;
      throw error;
    } finally {
      sendSignal(pid, SIGNAL.SIGKILL);
      waitForEnd(asTid(pid));
    }
  } finally {
    executable.close();
  }
}

/** We go on as soon as its old memory is gone (vfork(2)), which is before the kernel has mapped the vDSO into the new one. */
function awaitFirstInstruction(tid: Tid): void {
  if (trySeize(tid, PTRACE.PTRACE_O_EXITKILL) !== 'seized') return;
  interruptIfAlive(tid);
  waitForInterruptStop(tid);
}
