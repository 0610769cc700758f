/** What is made of state that only the kernel's own structs show. */
import { describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import { adjustmentsOf } from '../../../src/resources/ipc/adjustments.ts';
import { semaphoreAdjustments } from '../../../src/resources/process/semaphore-adjustments.ts';
import { hiddenObstacles, unseenState } from '../../../src/resources/process/unseen-state.ts';
import { asPid } from '../../../src/support/brand.ts';
import { PID, restored } from './in-a-batch.ts';

const nothing = { number: () => 1, inLandlock: false, portLevel: 0, hiddenRings: 0, undoList: 0n };

describe('what only the kernel knows of a thread', () => {
  it.each([
    ['nothing', {}, []],
    ['not known', { inLandlock: undefined }, []],
    ['a sandbox', { inLandlock: true }, ['landlock']],
    ['a right to ports', { portLevel: 3 }, ['io-permissions']],
    ['a ring', { hiddenRings: 1 }, ['io-uring']],
  ])('is in the way as far as it is something: %s', (_, state, codes) => {
    expect(hiddenObstacles({ ...nothing, ...state }, ['it']).map(({ code }) => code)).toEqual(codes);
  });

  it('is told where it could not be seen', () => {
    expect(unseenState.loss?.({}, PID)).toBeUndefined();
    expect(unseenState.loss?.({ landlock: true }, PID)).toMatch(/only to be seen with CAP_BPF/);
    expect(semaphoreAdjustments.loss?.({ sets: [] }, PID)).toBeUndefined();
    expect(semaphoreAdjustments.loss?.({ sets: [], unseen: true }, PID)).toMatch(/SEM_UNDO.*not in the image/);
  });
});

describe('adjustments of semaphores', () => {
  const operations = (bytes: Buffer, count: number): number[][] =>
    Array.from({ length: count }, (_, at) => [
      bytes.readUInt16LE(6 * at),
      bytes.readInt16LE(6 * at + 2),
      bytes.readUInt16LE(6 * at + 4),
    ]);

  it('are noted by pairs that change nothing, the rise first', () => {
    const adjustments = [
      { index: 7, value: 3 },
      { index: 2, value: -4 },
    ];
    const made = restored((process) => semaphoreAdjustments.restore({ sets: [{ id: 9, adjustments }] }, process));
    const [call] = made.calls;
    expect(call?.name).toBe('semop');
    expect([call?.args[0], call?.args[2]].map(Number)).toEqual([9, 4]);
    expect(operations(made.at(Number(call?.args[1])), 4)).toEqual([
      [7, 3, 0o4000],
      [7, -3, 0o14000],
      [2, 4, 0o14000],
      [2, -4, 0o4000],
    ]);
  });

  it('are noted with no more operations than one call takes', () => {
    const adjustments = Array.from({ length: 600 }, (_, index) => ({ index, value: 1 }));
    const { calls } = restored((process) => semaphoreAdjustments.restore({ sets: [{ id: 9, adjustments }] }, process));
    expect(calls.map(({ args }) => Number(args[2]))).toEqual([500, 500, 200]);
  });

  it('are those of semaphores that there can be', () => {
    const parse = (sets: unknown): unknown => parseState(semaphoreAdjustments.schema, { sets }, 'it');
    expect(() => parse([{ id: 1, adjustments: [] }])).toThrow(/must not be empty/);
    expect(() => parse([{ id: 1, adjustments: [{ index: 0, value: -32_768 }] }])).toThrow(/whole number/);
    expect(parse([])).toEqual({ sets: [] });
  });

  it('are none of a process that has none', () => {
    expect(adjustmentsOf({ speaker: asPid(process.pid), tids: [] }).entries).toEqual([]);
  });
});
