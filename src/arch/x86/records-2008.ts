/**
 * The CPU record of 2008 has FXSAVE and the selectors: what a thread has beside them is lost in it, unless it follows from
 * them or is what every thread begins with.
 */
import { CPU_BASE_SIZE, type CpuState, encodeBaseCpu } from './records.ts';
import { readRegister } from './registers.ts';
import { type Segments, segmentBase } from './segments.ts';
import { componentName, usedComponents } from './xstate.ts';

/** The last 48 bytes of FXSAVE, the record's last field, are left to software: the kernel notes there what XSAVE has. */
const SOFTWARE_BYTES = 48;
const PKRU = 9;
/** What execve(2) leaves in PKRU: key 0 is free, all others deny access (init_pkru_value of arch/x86/mm/pkeys.c). */
const INITIAL_PKRU = 0x5555_5554;
const FIRST_EXTENDED = 2;

export function encodeCpu2008(state: CpuState): Buffer {
  return encodeBaseCpu(state).fill(0, CPU_BASE_SIZE - SOFTWARE_BYTES);
}

/** One clause for each piece of a thread's registers for which the layout of 2008 has no place. */
export function lostIn2008(state: CpuState, segments: Segments): string[] {
  const { registers } = state;
  const bases = (['fs', 'gs'] as const).flatMap((name) => {
    const base = readRegister(registers, `${name}_base`);
    const named = segmentBase(readRegister(registers, name), segments);
    return base === named ? [] : [`the base of ${name} (0x${base.toString(16)}), which is not that of its segment`];
  });
  const components = usedComponents(state.xstate)
    .filter((index) => index >= FIRST_EXTENDED && !isInitial(state, index))
    .map((index) => `the state of ${componentName(index)}`);
  return [...bases, ...components];
}

function isInitial({ xstate, layout }: CpuState, index: number): boolean {
  const place = layout.components.find((part) => part.index === index);
  if (place === undefined) return false;
  const bytes = xstate.subarray(place.offset, place.offset + place.sizeBytes);
  if (index === PKRU && bytes.length >= 4 && bytes.readUInt32LE(0) === INITIAL_PKRU) return true;
  return index !== PKRU && bytes.every((byte) => byte === 0);
}
