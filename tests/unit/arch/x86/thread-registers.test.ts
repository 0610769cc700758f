import { describe, expect, it } from 'vitest';
import { encodeCpu, encodeThread } from '../../../../src/arch/x86/records.ts';
import { registerNames, withRegisters } from '../../../../src/arch/x86/registers.ts';
import { checkedRegisters, localDescriptorsOf } from '../../../../src/arch/x86/thread-registers.ts';
import { ImageError } from '../../../../src/support/errors.ts';
import { running, smallLayout, stateOf } from './samples.ts';

const TID = 7;
const RECORDS = 10_000;
const none = Buffer.alloc(0);

/** The same numbers in every run (splitmix64). */
function randomNumbers(seed: bigint): () => bigint {
  let state = seed;
  return () => {
    state = BigInt.asUintN(64, state + 0x9e37_79b9_7f4a_7c15n);
    let mixed = state;
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return mixed ^ (mixed >> 31n);
  };
}

const debugRegisters = [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
const goodCpu = encodeCpu({
  registers: running,
  debugRegisters,
  xstate: stateOf(smallLayout, [2]),
  layout: smallLayout,
});

/** Undefined if it was taken, else the code that it was refused with. Any other error is a fault of ours. */
function verdict(thread: Buffer, cpu: Buffer): string | undefined {
  try {
    checkedRegisters({ tid: TID, thread, cpu }, none);
    return undefined;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return error.code;
  }
}

describe('registers of an image', () => {
  it('of a running thread are taken', () => {
    expect(verdict(encodeThread(new Uint8Array(24)), goodCpu)).toBeUndefined();
    expect(localDescriptorsOf(undefined)).toHaveLength(0);
  });

  it('may be any in general registers', () => {
    const next = randomNumbers(1n);
    const free = registerNames.filter((name) => /^r([a-d]x|[sd]i|bp|\d+)$/.test(name) || name === 'orig_rax');
    for (let record = 0; record < 100; record++) {
      const registers = withRegisters(running, Object.fromEntries(free.map((name) => [name, next()])));
      const cpu = encodeCpu({ registers, debugRegisters, xstate: stateOf(smallLayout, []), layout: smallLayout });
      expect(verdict(encodeThread(new Uint8Array(24)), cpu)).toBeUndefined();
    }
  });

  it(`are refused, and nothing worse, in ${RECORDS} records that are changed at random`, () => {
    const next = randomNumbers(2n);
    const verdicts = new Map<string | undefined, number>();
    for (let record = 0; record < RECORDS; record++) {
      const cpu = Buffer.from(goodCpu);
      const thread = encodeThread(new Uint8Array(24));
      // From a single byte to a whole record of noise.
      const changes = record % 50 === 0 ? cpu.length : 1 + Number(next() % 8n);
      for (let change = 0; change < changes; change++)
        cpu[Number(next() % BigInt(cpu.length))] = Number(next() & 0xffn);
      if (record % 5 === 0) thread[Number(next() % BigInt(thread.length))] = Number(next() & 0xffn);
      const found = verdict(thread, cpu);
      verdicts.set(found, (verdicts.get(found) ?? 0) + 1);
    }
    expect([...verdicts.keys()].map(String).sort()).toEqual(['bad-record', 'bad-register', 'undefined']);
  });

  it('are told with every fault, but not with thousands', () => {
    const table = Buffer.alloc(8192 * 8, 0xff);
    const thread = encodeThread(new Uint8Array(24));
    expect(() => checkedRegisters({ tid: TID, thread, cpu: goodCpu }, table)).toThrow(
      /^Segments of thread 7: LDT entry 0 .*; LDT entry 7 is 64-bit code\.$/,
    );
  });
});

describe('a thread that has not used its floating point unit', () => {
  const unused = stateOf(smallLayout, []);
  unused.writeBigUInt64LE(0n, 512);
  const cpu = (xstate: Buffer): Buffer =>
    encodeCpu({ registers: running, debugRegisters, xstate, layout: smallLayout });
  const USED_MATH = 266;
  const withUsedMath = (bytes: Buffer, value: number): Buffer => {
    const changed = Buffer.from(bytes);
    changed.writeUInt16LE(value, USED_MATH);
    return changed;
  };
  const taken = (bytes: Buffer): boolean => verdict(encodeThread(new Uint8Array(24)), bytes) === undefined;

  it('says so in used_math', () => {
    expect(cpu(unused).readUInt16LE(USED_MATH)).toBe(0);
    expect(goodCpu.readUInt16LE(USED_MATH)).toBe(1);
    expect(taken(cpu(unused))).toBe(true);
  });

  it('may say 1 all the same, as earlier writers did; a state in use is never said to be unused', () => {
    expect(taken(withUsedMath(cpu(unused), 1))).toBe(true);
    expect(taken(withUsedMath(goodCpu, 0))).toBe(false);
    expect(taken(withUsedMath(goodCpu, 2))).toBe(false);
  });
});
