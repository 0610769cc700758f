/**
 * What becomes of a system call of ours in a task with seccomp filters, once we are dead. While we trace it the filters are suspended
 * (PTRACE_O_SUSPEND_SECCOMP); the kernel applies them again at the moment of our death, to whatever call the task makes next, and
 * that may be one of ours at any instant. So each is only made if the filters let it through, or answer it with an error where nothing
 * but an answer would be missing.
 */
import { I386_CALL, remoteCallSize } from '../arch/x86/machine-code.ts';
import { ERRNO } from '../kernel/abi/errno.ts';
import { AUDIT_ARCH } from '../kernel/abi/ptrace.ts';
import { SECCOMP } from '../kernel/abi/seccomp.ts';
import { syscallName } from '../kernel/abi/syscall.ts';
import { syscallNameI386 } from '../kernel/abi/syscall-i386.ts';
import type { SeccompFilter } from '../kernel/calls/ptrace.ts';
import { type Problem, QuicksaveError } from '../support/errors.ts';
import { type FilterAnswer, type FilteredCall, possibleAnswers } from './seccomp-program.ts';

/** A call of ours. The number is one of x86-64, or of i386 with {@link I386_CALL} added. Arguments that are left out may be anything. */
export interface GuardedCall {
  readonly number: number;
  readonly args: readonly (number | bigint | undefined)[];
}

/** `made`: in any case. `answered`: it may fail with an error instead. `harmful`: it may end the task, or something that is not known. */
export type Treatment = 'made' | 'answered' | 'harmful';

export class CallGuard {
  /** The oldest first. */
  readonly filters: readonly SeccompFilter[];
  readonly #known = new Map<string, Treatment>();

  constructor(filters: readonly SeccompFilter[]) {
    this.filters = filters;
  }

  treatmentOf(call: GuardedCall): Treatment {
    const key = `${call.number} ${call.args.join()}`;
    const known = this.#known.get(key) ?? treatment(this.filters, asFiltered(call));
    this.#known.set(key, known);
    return known;
  }

  /** A supervisor may be asked about calls (seccomp_unotify(2)). The kernel does not tell whether there is one. */
  mayAskSupervisor(): boolean {
    const { SECCOMP_RET_USER_NOTIF } = SECCOMP;
    return this.filters.some(({ program }) =>
      Array.from(possibleAnswers(program, ANY_CALL)).some(
        (answer) => answer === 'any' || actionOf(answer) === SECCOMP_RET_USER_NOTIF,
      ),
    );
  }

  /** Throws if one of the calls would harm the task if we died. `tid` is for the sentence. */
  refuseHarmful(tid: number, calls: readonly GuardedCall[]): void {
    const harmful = calls.filter((call) => this.treatmentOf(call) === 'harmful');
    if (harmful.length === 0) return;
    const { code, message, remedy } = forbiddenCalls(tid, harmful.map(nameOf));
    throw new QuicksaveError(code, message, remedy === undefined ? {} : { remedy });
  }
}

/** Those of a batch, as it is laid out in memory. */
export const callsIn = (calls: Buffer, count: number): { number: number; args: bigint[] }[] =>
  Array.from({ length: count }, (_, index) => {
    const slot = calls.subarray(index * remoteCallSize);
    const args = [0, 1, 2, 3, 4, 5].map((arg) => slot.readBigUInt64LE(8 + arg * 8));
    return { number: Number(slot.readBigUInt64LE(0)), args };
  });

/** `calls` are names. */
export function forbiddenCalls(tid: number, calls: readonly string[]): Problem {
  const names = [...new Set(calls)].join(', ');
  return {
    code: 'seccomp',
    path: [`thread ${tid}`],
    message: `The seccomp filter of thread ${tid} forbids what quicksave has to do in it (${names}): if quicksave were killed then, the filter would end the program, or leave it in disorder.`,
    remedy: `Allow it ${names} (systemd: SystemCallFilter), or start it without its sandbox.`,
  };
}

export const nameOf = ({ number }: GuardedCall): string =>
  number < I386_CALL ? syscallName(number) : `i386 ${syscallNameI386(number - I386_CALL)}`;

function asFiltered({ number, args }: GuardedCall): FilteredCall {
  const isI386 = number >= I386_CALL;
  return {
    number: isI386 ? number - I386_CALL : number,
    architecture: isI386 ? AUDIT_ARCH.AUDIT_ARCH_I386 : AUDIT_ARCH.AUDIT_ARCH_X86_64,
    args: args.map((value) => (value === undefined ? undefined : BigInt.asUintN(isI386 ? 32 : 64, BigInt(value)))),
  };
}

/** All filters are asked, and the strictest answer counts (seccomp(2)): none of them may give a worse one. */
function treatment(filters: readonly SeccompFilter[], call: FilteredCall): Treatment {
  const all = filters.flatMap(({ program }) => Array.from(possibleAnswers(program, call), treatmentBy));
  return all.includes('harmful') ? 'harmful' : all.includes('answered') ? 'answered' : 'made';
}

const ANY_CALL: FilteredCall = { number: undefined, architecture: undefined, args: [] };

const actionOf = (answer: number): number => (answer & SECCOMP.SECCOMP_RET_ACTION_FULL) >>> 0;

/** Errors from here on mean that the call is to be made again (include/linux/errno.h of the kernel). */
const FIRST_RESTART = 512;

function treatmentBy(answer: FilterAnswer): Treatment {
  if (answer === 'any') return 'harmful';
  switch (actionOf(answer)) {
    case SECCOMP.SECCOMP_RET_ALLOW:
    case SECCOMP.SECCOMP_RET_LOG:
      return 'made';
    // Without a tracer that is asked: ENOSYS.
    case SECCOMP.SECCOMP_RET_TRACE:
      return 'answered';
    case SECCOMP.SECCOMP_RET_ERRNO: {
      const errno = answer & SECCOMP.SECCOMP_RET_DATA;
      // Our code takes 0 for success, and repeats what was interrupted.
      return errno > 0 && errno < FIRST_RESTART && errno !== ERRNO.EINTR ? 'answered' : 'harmful';
    }
    default:
      return 'harmful';
  }
}
