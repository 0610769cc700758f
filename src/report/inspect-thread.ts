/** One thread of an image: registers, the call it is in, and what else belongs to it alone. */

import { type CpuState, decodeCpu, decodeThread } from '../arch/x86/records.ts';
import { type RegisterName, readRegister, registerNames } from '../arch/x86/registers.ts';
import { componentName, usedComponents } from '../arch/x86/xstate.ts';
import type { ThreadModel } from '../image/process-model.ts';
import { type Json, textAt, toJson } from './json.ts';
import { eflagsNames, hex, signalsIn } from './names.ts';
import type { StackEntry } from './symbols.ts';
import { inspectSystemCall, type SystemCallInspection } from './system-call.ts';

export interface ThreadInspection {
  readonly tid: number;
  readonly name?: string;
  readonly signalMask: string;
  readonly blockedSignals: readonly string[];
  readonly registers: Readonly<Record<RegisterName, string>>;
  readonly eflags: readonly string[];
  /** Descriptors of the three slots for thread-local storage in the GDT, if one of them is used. */
  readonly threadAreas?: readonly string[];
  /** dr0 to dr7. */
  readonly debugRegisters: readonly string[];
  /** Undefined for a thread that was running code of its own. */
  readonly systemCall?: SystemCallInspection;
  /** Function of the vDSO that it stood in, and how far: `__vdso_clock_gettime+0x56`. */
  readonly inVdso?: string;
  /** Function that it stood in, and how far; only asked for one process (`--task`), where the file is there. */
  readonly place?: string;
  /** Return addresses that stand on its stack, the last call first; as `place`. */
  readonly stack?: readonly StackEntry[];
  readonly xstate: {
    readonly sizeBytes: number;
    /** Components that are not in their initial state. */
    readonly inUse: readonly string[];
  };
  readonly aspects: { readonly [name: string]: Json };
}

export function inspectThread(
  { tid, state, thread, cpu, where }: ThreadModel,
  vdsoPlace: VdsoPlace = () => undefined,
): ThreadInspection {
  const decoded = decodeCpu(cpu, where);
  const name = textAt(toJson(state.aspects['name']), 'comm');
  const systemCall = inspectSystemCall(decoded.registers);
  const inVdso = vdsoPlace(Number(readRegister(decoded.registers, 'rip')));
  return {
    tid,
    ...(name === undefined ? {} : { name }),
    signalMask: hex(state.signalMask),
    blockedSignals: signalsIn(state.signalMask),
    registers: namedRegisters(decoded),
    eflags: eflagsNames(readRegister(decoded.registers, 'eflags')),
    ...threadAreasIn(decodeThread(thread, `THREAD record of thread ${tid}`)),
    debugRegisters: decoded.debugRegisters.map(hex),
    ...(systemCall === undefined ? {} : { systemCall }),
    ...(inVdso === undefined ? {} : { inVdso }),
    xstate: { sizeBytes: decoded.xstate.length, inUse: usedComponents(decoded.xstate).map(componentName) },
    aspects: Object.fromEntries(Object.entries(state.aspects).map(([key, value]) => [key, toJson(value)])),
  };
}

/** The name of a place in the vDSO; undefined for an address that is elsewhere. */
export type VdsoPlace = (address: number) => string | undefined;

function threadAreasIn(table: Uint8Array): Pick<ThreadInspection, 'threadAreas'> {
  const bytes = Buffer.from(table);
  if (bytes.every((byte) => byte === 0)) return {};
  return { threadAreas: [0, 8, 16].map((offset) => hex(bytes.readBigUInt64LE(offset))) };
}

const namedRegisters = ({ registers }: CpuState): Record<RegisterName, string> =>
  Object.fromEntries(registerNames.map((name) => [name, hex(readRegister(registers, name))])) as Record<
    RegisterName,
    string
  >;
