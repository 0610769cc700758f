/** Fills the state blocks that the machine code in a task works with. */
import { homeBlock, homeBlockSize, stateBlock, stateBlockSize } from '../arch/x86/machine-code.ts';
import type { RegisterFile } from '../arch/x86/registers.ts';
import { NO_SYSCALL, register, withRegisters } from '../arch/x86/registers.ts';
import type { RemoteAddress } from '../support/brand.ts';

export interface WayHome {
  /** Registers with which the task goes on by itself: any system call in flight is resolved already. */
  readonly registers: RegisterFile;
  readonly signalMask: bigint;
}

/** Address space of the agent's, to be unmapped on the way home: it holds nothing else, whether it is mapped yet or not. */
export interface Unmapping {
  readonly start: RemoteAddress;
  readonly sizeBytes: number;
}

const CLOSED = -1;

/** The bytes of an agent's state block with no calls in it. */
export function encodeStateBlock(home: WayHome, calls: RemoteAddress | 0 = 0, doorbell = CLOSED): Buffer {
  const block = encodeWayHome(home, stateBlockSize);
  block.writeInt32LE(doorbell, stateBlock.doorbell);
  block.writeInt32LE(CLOSED, stateBlock.toolEnd);
  block.writeBigUInt64LE(BigInt(calls), stateBlock.calls);
  return block;
}

/** The bytes of a block for the code that makes single calls and leads home. */
export function encodeHomeBlock(home: WayHome, unmapping?: Unmapping): Buffer {
  const block = encodeWayHome(home, homeBlockSize);
  block.writeBigUInt64LE(BigInt(unmapping?.start ?? 0), homeBlock.unmap);
  block.writeBigUInt64LE(BigInt(unmapping?.sizeBytes ?? 0), homeBlock.unmapSize);
  return block;
}

function encodeWayHome({ registers, signalMask }: WayHome, sizeBytes: number): Buffer {
  const block = Buffer.alloc(sizeBytes);
  for (let index = register.r15; index <= register.rdi; index++) {
    block.writeBigUInt64LE(registers[index] ?? 0n, stateBlock.registers + index * 8);
  }
  for (let index = register.rip; index <= register.ss; index++) {
    block.writeBigUInt64LE(registers[index] ?? 0n, stateBlock.iretFrame + (index - register.rip) * 8);
  }
  block.writeBigUInt64LE(signalMask, stateBlock.signalMask);
  return block;
}

/** What {@link encodeStateBlock} or {@link encodeHomeBlock} has put there. Registers that no block has are those of `current`. */
export function decodeWayHome(block: Buffer, current: RegisterFile): WayHome {
  const registers = withRegisters(current, { orig_rax: NO_SYSCALL });
  for (let index = register.r15; index <= register.rdi; index++) {
    registers[index] = block.readBigUInt64LE(stateBlock.registers + index * 8);
  }
  for (let index = register.rip; index <= register.ss; index++) {
    registers[index] = block.readBigUInt64LE(stateBlock.iretFrame + (index - register.rip) * 8);
  }
  return { registers, signalMask: block.readBigUInt64LE(stateBlock.signalMask) };
}
