/**
 * A child of ours to try things on: a program of a page that waits until it is killed, stopped under our trace. It dies with
 * us, whatever happens.
 */
import { stubProgram } from '../arch/x86/stub-elf.ts';
import { PR } from '../kernel/abi/prctl.ts';
import { PTRACE } from '../kernel/abi/ptrace.ts';
import { BPF, SECCOMP } from '../kernel/abi/seccomp.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { executableFromBytes } from '../kernel/calls/descriptors.ts';
import { getRegisterFile, interruptIfAlive, trySeize } from '../kernel/calls/ptrace.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { endChild } from '../kernel/features.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { asTid, type Pid, type RemoteAddress, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { StoppedTask, waitForInterruptStop } from '../tracee/stopped-task.ts';

/** Any address that is free in a new process. */
const ADDRESS = 0x10_0000_0000;
/** Room behind the stub's code, in its only page. */
const FILTER_OFFSET = 0x900;
const FILTER_PROGRAM_OFFSET = 0x910;
const ALL_SIGNALS = 0xffffffffffffffffn;

export class ProbeChild {
  readonly pid: Pid;
  readonly executable: OwnedFd;
  readonly #callOnce: RemoteAddress;
  #task: StoppedTask | undefined;

  constructor() {
    const { image, callOnce } = stubProgram(ADDRESS, process.pid);
    writeFilter(image);
    this.#callOnce = remoteAddress(callOnce);
    this.executable = executableFromBytes('quicksave', image);
    try {
      this.pid = spawnProgram(this.executable.number);
    } catch (error) {
      this.executable.close();
      throw error;
    }
  }

  get tid(): ReturnType<typeof asTid> {
    return asTid(this.pid);
  }

  /** An address that can be read. */
  get code(): RemoteAddress {
    return remoteAddress(ADDRESS);
  }

  /** Attaches and stops. */
  seize(): void {
    const outcome = trySeize(this.tid, PTRACE.PTRACE_O_EXITKILL | PTRACE.PTRACE_O_TRACESYSGOOD);
    if (outcome === 'not-permitted') throw new QuicksaveError('not-permitted', 'it is not permitted');
    if (outcome === 'gone') throw new QuicksaveError('target-ended', 'the child that it was tried on ended at once');
    interruptIfAlive(this.tid);
    waitForInterruptStop(this.tid);
    this.#task = new StoppedTask(this.tid, getRegisterFile(this.tid), ALL_SIGNALS);
  }

  /** One system call inside the stopped child. */
  call(number: number, ...args: number[]): number {
    if (this.#task === undefined) throw new Error('the child is not stopped');
    const site = { callOnce: this.#callOnce, callI386: this.#callOnce, goHome: this.#callOnce, block: this.code };
    return this.#task.tryCall(site, number, ...args);
  }

  /** Gives the child a seccomp filter that lets everything through; false where the kernel has none. */
  takeFilter(): boolean {
    this.call(SYS.prctl, PR.PR_SET_NO_NEW_PRIVS, 1);
    return this.call(SYS.prctl, PR.PR_SET_SECCOMP, SECCOMP.SECCOMP_MODE_FILTER, ADDRESS + FILTER_PROGRAM_OFFSET) === 0;
  }

  end(): void {
    endChild(this.pid);
    this.executable.close();
  }
}

/** struct sock_filter of one instruction, and struct sock_fprog that points to it. */
function writeFilter(image: Buffer): void {
  image.writeUInt16LE(BPF.BPF_RET | BPF.BPF_K, FILTER_OFFSET);
  image.writeUInt32LE(SECCOMP.SECCOMP_RET_ALLOW, FILTER_OFFSET + 4);
  image.writeUInt16LE(1, FILTER_PROGRAM_OFFSET);
  image.writeBigUInt64LE(BigInt(ADDRESS + FILTER_OFFSET), FILTER_PROGRAM_OFFSET + 8);
}
