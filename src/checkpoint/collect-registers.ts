/** Collect, the part of registers: what ptrace(2) tells of a thread, and the call that it was in. */
import { callsOfI386, usualCallAbi } from '../arch/x86/call-abi.ts';
import {
  CODE_BEFORE_CALL,
  isRestartedCall,
  resolvedAnew,
  TIME_SIZE,
  type TimeReader,
  withOriginalCall,
} from '../arch/x86/interrupted-call.ts';
import { type CpuState, DEBUG_REGISTER_COUNT } from '../arch/x86/records.ts';
import { registerFaults } from '../arch/x86/register-sanity.ts';
import { type RegisterFile, readRegister } from '../arch/x86/registers.ts';
import { threadAreaTable } from '../arch/x86/segments.ts';
import { returnFromCall } from '../arch/x86/vdso-redirect.ts';
import { type XstateLayout, xcr0Of } from '../arch/x86/xstate.ts';
import { DEBUG_REGISTERS_OFFSET } from '../kernel/abi/ptrace.ts';
import { getThreadAreas, getXstate, hasIoPermissions, peekUser } from '../kernel/calls/ptrace.ts';
import type { Waiting } from '../procfs/waiting.ts';
import { type Pid, remoteAddress } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { readRemote } from '../tracee/remote-memory.ts';
import type { StoppedTask } from '../tracee/stopped-task.ts';
import type { ProcessSurvey } from './preflight.ts';

export interface CollectedRegisters {
  readonly cpu: CpuState;
  /** Descriptors of its three slots in the GDT. */
  readonly threadAreas: Buffer;
}

/** The process that a thread belongs to. */
interface Owner {
  readonly pid: Pid;
  readonly survey: ProcessSurvey;
  /** The LDT. */
  readonly localDescriptors: Buffer;
}

interface Context {
  readonly layout: XstateLayout;
  /** Where threads waited that were in restart_syscall(2) before they were stopped. */
  readonly waits: ReadonlyMap<number, Waiting>;
  readonly problems: Problem[];
  readonly remarks: string[];
}

export function collectRegisters(task: StoppedTask, owner: Owner, context: Context): CollectedRegisters {
  const { tid } = task;
  const { localDescriptors } = owner;
  const { layout, problems } = context;
  const path = [`thread ${tid}`];
  const xstate = getXstate(tid);
  const threadAreas = threadAreaTable(getThreadAreas(tid));
  if (hasIoPermissions(tid)) {
    problems.push({ code: 'io-permissions', path, message: 'It may use I/O ports (ioperm), which cannot be saved.' });
  }
  const registers = registersForImage(task, owner, context);
  for (const fault of registerFaults(registers, { threadAreas, localDescriptors })) {
    problems.push({ code: 'odd-register', path, message: `Its register ${fault}: it could not be set again.` });
  }
  const debugRegisters = Array.from({ length: DEBUG_REGISTER_COUNT }, (_, index) =>
    index === 4 || index === 5 ? 0n : peekUser(tid, DEBUG_REGISTERS_OFFSET + index * 8),
  );
  const cpu = {
    registers,
    debugRegisters,
    xstate,
    layout: { ...layout, xcr0: xcr0Of(xstate), sizeBytes: xstate.length },
  };
  return { cpu, threadAreas };
}

const SYSCALL_LENGTH = 2;

/** The task's own, but with the call that it was in before an earlier stop: a new process has no restart block. */
function registersForImage(task: StoppedTask, owner: Owner, { waits, remarks }: Context): RegisterFile {
  const { tid, registers, callAbi } = task;
  let known: RegisterFile | undefined = registers;
  if (isRestartedCall(registers, callAbi)) {
    const timeAt = timeReader(owner);
    known = withOriginalCall(registers, codeBeforeCall(task, owner), waitsIn(task, waits), callAbi, timeAt);
    if (known === undefined) remarks.push(`a sleep or wait of thread ${tid} answers EINTR after a restart`);
  }
  // The image tells the way of calling by the code segment alone.
  return callAbi === usualCallAbi(registers) ? (known ?? registers) : resolvedAnew(known ?? registers, callAbi);
}

/** Bytes that the vDSO's entry for calls of i386 pushes before the call: what returns to the caller stands above them. */
const PUSHED_IN_VDSO = 12;
/** `call gs:[0x10]`, through which libc calls that entry. */
const CALL_TO_VDSO_LENGTH = 7;

/** What stands before the call; in 32-bit code also what stands before the call of the vDSO's entry, if it is in there. */
function codeBeforeCall({ registers, callAbi }: StoppedTask, { pid, survey }: Owner): Buffer {
  const rip = Number(readRegister(registers, 'rip'));
  const before = (end: number): Buffer =>
    isMapped(survey, end - CODE_BEFORE_CALL, CODE_BEFORE_CALL)
      ? readRemote(pid, remoteAddress(end - CODE_BEFORE_CALL), CODE_BEFORE_CALL)
      : Buffer.alloc(0);
  const code = before(rip - SYSCALL_LENGTH);
  if (callAbi !== callsOfI386 || !isMapped(survey, rip, returnFromCall.length)) return code;
  // Known by its form: after a restart on another kernel the old entry stands in memory of the program.
  if (!readRemote(pid, remoteAddress(rip), returnFromCall.length).equals(returnFromCall)) return code;
  const pushed = Number(readRegister(registers, 'rsp')) + PUSHED_IN_VDSO;
  if (!isMapped(survey, pushed, 4)) return code;
  const returnsTo = readRemote(pid, remoteAddress(pushed), 4).readUInt32LE(0);
  return Buffer.concat([code, SEPARATOR, before(returnsTo - CALL_TO_VDSO_LENGTH)]);
}

/** No number can reach across it. */
const SEPARATOR = Buffer.alloc(4);

const isMapped = (survey: ProcessSurvey, address: number, sizeBytes: number): boolean =>
  survey.mappings.some(({ mapping }) => mapping.start <= address && address + sizeBytes <= mapping.end && mapping.read);

const timeReader =
  ({ pid, survey }: Owner): TimeReader =>
  (address) =>
    isMapped(survey, address, TIME_SIZE) ? readRemote(pid, remoteAddress(address), TIME_SIZE) : undefined;

/** In which function of the kernel it waited before it was stopped, if that was the same wait. */
function waitsIn({ tid, registers }: StoppedTask, waits: Context['waits']): string {
  const waited = waits.get(tid);
  const isSameWait =
    waited?.instructionPointer === readRegister(registers, 'rip') &&
    waited.stackPointer === readRegister(registers, 'rsp');
  return isSameWait ? waited.function : '';
}
