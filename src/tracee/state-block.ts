/** Fills the state block that the machine code in a task works with. */
import { stateBlock, stateBlockSize } from '../arch/x86/machine-code.ts';
import type { RegisterFile } from '../arch/x86/registers.ts';
import { register } from '../arch/x86/registers.ts';
import type { RemoteAddress } from '../support/brand.ts';

export interface WayHome {
  /** Registers with which the task goes on by itself: any system call in flight is resolved already. */
  readonly registers: RegisterFile;
  readonly signalMask: bigint;
}

const CLOSED = -1;

/** The bytes of a state block with no calls in it. */
export function encodeStateBlock(home: WayHome, calls: RemoteAddress | 0 = 0, doorbell = CLOSED): Buffer {
  const block = Buffer.alloc(stateBlockSize);
  const { registers } = home;
  for (let index = register.r15; index <= register.rdi; index++) {
    block.writeBigUInt64LE(registers[index] ?? 0n, stateBlock.registers + index * 8);
  }
  for (let index = register.rip; index <= register.ss; index++) {
    block.writeBigUInt64LE(registers[index] ?? 0n, stateBlock.iretFrame + (index - register.rip) * 8);
  }
  block.writeBigUInt64LE(home.signalMask, stateBlock.signalMask);
  block.writeInt32LE(doorbell, stateBlock.doorbell);
  block.writeInt32LE(CLOSED, stateBlock.toolEnd);
  block.writeBigUInt64LE(BigInt(calls), stateBlock.calls);
  return block;
}
