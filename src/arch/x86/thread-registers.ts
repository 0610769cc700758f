/** All registers of one thread of an image, checked: whatever is made of them later, no processor state comes from unchecked bytes. */
import { ImageError } from '../../support/errors.ts';
import { type CpuState, decodeCpu, decodeMemoryContext, decodeThread } from './records.ts';
import { debugRegisterFaults, registerFaults } from './register-sanity.ts';
import { descriptorFaults } from './segments.ts';
import { xstateFault } from './xstate.ts';

/** MXCSR bits that every processor with SSE2 and DAZ has; the kernel refuses the others. */
const MXCSR_MASK = 0xffff;
/** A table may have thousands. */
const MAX_FAULTS = 8;

export interface ThreadRegisters {
  readonly cpu: CpuState;
  /** Descriptors of its three slots in the GDT. */
  readonly threadAreas: Uint8Array;
}

/** The LDT of a process, from its MM_CONTEXT payload if there is one. Not checked: see {@link checkedRegisters}. */
export const localDescriptorsOf = (memoryContext: Buffer | undefined): Buffer =>
  memoryContext === undefined ? Buffer.alloc(0) : decodeMemoryContext(memoryContext);

/** Decodes THREAD and CPU payloads. Throws ImageError for what no thread of such a process can have. */
export function checkedRegisters(
  { tid, thread, cpu: payload }: { readonly tid: number; readonly thread: Buffer; readonly cpu: Buffer },
  localDescriptors: Uint8Array,
): ThreadRegisters {
  const threadAreas = decodeThread(thread, `THREAD record of thread ${tid}`);
  const segments = { threadAreas, localDescriptors };
  refuse(`Segments of thread ${tid}`, descriptorFaults(segments));
  const cpu = decodeCpu(payload, `CPU record of thread ${tid}`);
  const fault = xstateFault(cpu.xstate, cpu.layout, MXCSR_MASK);
  refuse(`CPU record of thread ${tid}`, [
    ...registerFaults(cpu.registers, segments),
    ...debugRegisterFaults(cpu.debugRegisters),
    ...(fault === undefined ? [] : [fault]),
  ]);
  return { cpu, threadAreas };
}

function refuse(where: string, faults: readonly string[]): void {
  if (faults.length > 0) throw new ImageError('bad-register', `${where}: ${faults.slice(0, MAX_FAULTS).join('; ')}.`);
}
