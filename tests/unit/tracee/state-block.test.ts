import { describe, expect, it } from 'vitest';
import { stateBlock, stateBlockSize } from '../../../src/arch/x86/machine-code.ts';
import { readRegister, registerNames } from '../../../src/arch/x86/registers.ts';
import { remoteAddress } from '../../../src/support/brand.ts';
import { encodeStateBlock } from '../../../src/tracee/state-block.ts';

const registers = BigUint64Array.from(registerNames, (_, index) => 0xffff_0000_0000_0000n + BigInt(index));
const signalMask = 0xfedc_ba98_7654_3210n;
const wordsAt = (block: Buffer, offset: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, index) => block.readBigUInt64LE(offset + index * 8));

describe('a state block', () => {
  const block = encodeStateBlock({ registers, signalMask }, remoteAddress(0x1234_5000), 7);

  it('has the registers in the order in which they are popped', () => {
    const popped = [
      'r15',
      'r14',
      'r13',
      'r12',
      'rbp',
      'rbx',
      'r11',
      'r10',
      'r9',
      'r8',
      'rax',
      'rcx',
      'rdx',
      'rsi',
      'rdi',
    ];
    expect(wordsAt(block, 0, 15)).toEqual(popped.map((name) => readRegister(registers, name as 'r15')));
  });

  it('has the frame that iretq takes right behind them', () => {
    const frame = (['rip', 'cs', 'eflags', 'rsp', 'ss'] as const).map((name) => readRegister(registers, name));
    expect(wordsAt(block, 15 * 8, 5)).toEqual(frame);
    expect(stateBlock.iretFrame).toBe(15 * 8);
  });

  it('has the signal mask, the calls and the doorbell', () => {
    expect(block.readBigUInt64LE(stateBlock.signalMask)).toBe(signalMask);
    expect(block.readBigUInt64LE(stateBlock.calls)).toBe(0x1234_5000n);
    expect(block.readInt32LE(stateBlock.doorbell)).toBe(7);
    expect(block.readUInt32LE(stateBlock.callCount)).toBe(0);
  });

  it('has no end of the doorbell that the way home could close by mistake', () => {
    const alone = encodeStateBlock({ registers, signalMask });
    expect([alone.readInt32LE(stateBlock.doorbell), alone.readInt32LE(stateBlock.toolEnd)]).toEqual([-1, -1]);
    expect(block.readInt32LE(stateBlock.toolEnd)).toBe(-1);
  });

  it('leads straight home unless it is told another exit', () => {
    expect(block).toHaveLength(stateBlockSize);
    expect(block.subarray(stateBlock.ringByte).every((byte) => byte === 0)).toBe(true);
  });
});
