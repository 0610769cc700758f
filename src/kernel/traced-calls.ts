/** The calls of `--debug`, as text: `ptrace(PTRACE_SEIZE, 1234) = -ESRCH`. */
import { noteCall, startCallTrail } from '../support/call-trail.ts';
import { errnoName } from './abi/errno.ts';
import { PTRACE } from './abi/ptrace.ts';
import { syscallName } from './abi/syscall.ts';
import { isFailure } from './errors.ts';
import { watchSyscalls } from './ffi.ts';

/** From now on the newest system calls of this thread are kept, for the errors that are made after it. */
export function traceCalls(): void {
  startCallTrail();
  watchSyscalls((number, args, result) => {
    const name = syscallName(number);
    noteCall(callText(name, args, result), callText(name, args.slice(0, ARGUMENTS_OF_KIND), result));
  });
}

/** Which descriptor, or which request and task: calls that are the same in these, and in their result, do the same. */
const ARGUMENTS_OF_KIND = 2;

/** Arguments at the end that are zero are left out: most calls take fewer than six. */
export function callText(name: string, args: readonly (number | bigint)[], result: number): string {
  const count = args.findLastIndex((one) => BigInt(one) !== 0n) + 1;
  const shown = args.slice(0, count).map(numberText);
  const request = name === 'ptrace' ? ptraceRequestName(Number(args[0])) : undefined;
  if (request !== undefined) shown[0] = request;
  return `${name}(${shown.join(', ')}) = ${resultText(result)}`;
}

const requests = new Map<number, string>(
  Object.entries(PTRACE)
    .filter(([name]) => !/^PTRACE_(O|EVENT|PEEKSIGINFO|SYSCALL_INFO)_/.test(name))
    .map(([name, request]) => [request, name]),
);

/** `PTRACE_SEIZE`; undefined for a request that is not known here. */
export const ptraceRequestName = (request: number): string | undefined => requests.get(request);

const LARGEST_DECIMAL = 0xfff_ffffn;

/** Descriptors, pids and lengths are decimal; addresses are not. */
const numberText = (value: number | bigint): string =>
  BigInt(value) > LARGEST_DECIMAL ? `0x${value.toString(16)}` : value.toString();

const resultText = (result: number): string => (isFailure(result) ? `-${errnoName(-result)}` : numberText(result));
