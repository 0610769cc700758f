/**
 * A task that a save which was killed has left in our code. One that runs leaves it by itself at once; one that a signal has
 * stopped (signal(7)) would only do so when it is continued. It is led home here, before anything else is done with it: a second
 * agent would write over what the first one needs for its way.
 */
import {
  homeBlock,
  homeBlockSize,
  homeCode,
  machineCode,
  routines,
  stateBlock,
  stateBlockSize,
} from '../arch/x86/machine-code.ts';
import { type RegisterFile, readRegister } from '../arch/x86/registers.ts';
import { USER64_CS } from '../arch/x86/segments.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { setRegisterFile, setSignalMask } from '../kernel/calls/ptrace.ts';
import { KernelError } from '../kernel/errors.ts';
import { type Pid, remoteAddress, type Tid } from '../support/brand.ts';
import { readRemote } from './remote-memory.ts';
import { decodeWayHome, type WayHome } from './state-block.ts';
import { type CallSite, StoppedTask } from './stopped-task.ts';

const PAGE = 4096;

/** What is known of it from its block. */
interface Leftover {
  readonly home: WayHome;
  /** Code that stays: in the vDSO. */
  readonly site: CallSite;
  readonly unmap: number;
  readonly unmapSize: number;
  /** Descriptors of its doorbell; -1 for none. */
  readonly doorbell: readonly number[];
}

/** Where it goes on by itself, if it was in our code; it stands still afterwards, at home. */
export function leadHome(pid: Pid, tid: Tid, registers: RegisterFile): WayHome | undefined {
  if (Number(readRegister(registers, 'cs')) !== USER64_CS) return undefined;
  const leftover = tryRead(() => leftoverOf(pid, registers));
  if (leftover === undefined) return undefined;
  const { home, site, unmap, unmapSize, doorbell } = leftover;
  const task = new StoppedTask(tid, home.registers, home.signalMask);
  for (const fd of doorbell.filter((number) => number >= 0)) task.tryCall(site, SYS.close, fd);
  if (unmapSize > 0) task.tryCall(site, SYS.munmap, unmap, unmapSize);
  task.standStill(false);
  setSignalMask(tid, home.signalMask);
  setRegisterFile(tid, home.registers);
  return home;
}

function leftoverOf(pid: Pid, registers: RegisterFile): Leftover | undefined {
  const rip = Number(readRegister(registers, 'rip'));
  const page = rip - (rip % PAGE);
  const code = readRemote(pid, remoteAddress(page), PAGE);
  if (code.subarray(0, machineCode.length).equals(machineCode)) return inAgent(pid, registers);
  const start = code.indexOf(homeCode);
  if (start < 0 || rip < page + start || rip >= page + start + homeCode.length) return undefined;
  return inFoothold(pid, registers, page + start);
}

/** Its block says where it came in through. */
function inAgent(pid: Pid, registers: RegisterFile): Leftover {
  const block = readRemote(pid, remoteAddress(Number(readRegister(registers, 'rbx'))), stateBlockSize);
  const at = (offset: number): number => Number(block.readBigUInt64LE(offset));
  const callOnce = at(stateBlock.exitSite);
  return {
    home: decodeWayHome(block, registers),
    site: siteOf(callOnce - routines.call_once, at(stateBlock.exitBlock)),
    unmap: at(stateBlock.exitUnmap),
    unmapSize: at(stateBlock.exitSize),
    doorbell: [block.readInt32LE(stateBlock.toolEnd), block.readInt32LE(stateBlock.doorbell)],
  };
}

function inFoothold(pid: Pid, registers: RegisterFile, code: number): Leftover {
  const address = Number(readRegister(registers, 'rbx'));
  const block = readRemote(pid, remoteAddress(address), homeBlockSize);
  return {
    home: decodeWayHome(block, registers),
    site: siteOf(code, address),
    unmap: Number(block.readBigUInt64LE(homeBlock.unmap)),
    unmapSize: Number(block.readBigUInt64LE(homeBlock.unmapSize)),
    doorbell: [],
  };
}

const siteOf = (code: number, block: number): CallSite => ({
  callOnce: remoteAddress(code + routines.call_once),
  callI386: remoteAddress(code + routines.call_i386),
  goHome: remoteAddress(code + routines.go_home),
  block: remoteAddress(block),
});

/** Undefined for code that cannot be read, which is not ours. */
function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}
