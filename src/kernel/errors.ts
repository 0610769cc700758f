/** Every errno becomes one class that carries call, errno name, pid and what was being done for the user. */
import { QuicksaveError } from '../support/errors.ts';
import { remedyForFailedCall } from '../support/lacking.ts';
import { ERRNO, errnoName, errnoSentence } from './abi/errno.ts';

export interface CallContext {
  /** What was being done, as an infinitive: `read the registers`. */
  readonly doing: string;
  readonly pid?: number;
}

export class KernelError extends QuicksaveError {
  override readonly name: string = 'KernelError';
  readonly call: string;
  readonly errno: number;
  readonly errnoName: string;
  readonly pid: number | undefined;

  constructor(call: string, errno: number, context: CallContext) {
    const whose = context.pid === undefined ? '' : ` of process ${context.pid}`;
    const name = errnoName(errno);
    const remedy = remedyForFailedCall(call, name, context.pid !== undefined);
    super(
      remedy === undefined ? 'kernel-call' : 'no-room',
      `Could not ${context.doing}${whose}: ${errnoSentence(errno)} (${call}: ${name}).`,
      remedy === undefined ? {} : { remedy },
    );
    this.call = call;
    this.errno = errno;
    this.errnoName = name;
    this.pid = context.pid;
  }
}

/** True for the kernel's encoding of a failure, -4095..-1. */
export function isFailure(result: number): boolean {
  return result < 0 && result >= -4095;
}

/** Passes a result through, or throws for a negative errno. */
export function check(call: string, result: number, context: CallContext): number {
  if (isFailure(result)) throw new KernelError(call, -result, context);
  return result;
}

/** Passes a result through, also a failure, but one for lack of the kernel's memory: it says nothing of what was asked. */
export function checkMemory(call: string, result: number, context: CallContext): number {
  return result === -ERRNO.ENOMEM || result === -ERRNO.ENOBUFS ? check(call, result, context) : result;
}
