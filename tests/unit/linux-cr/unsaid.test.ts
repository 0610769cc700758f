import { describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import { MappingState, MemoryRecord, TaskRecord, ThreadStateRecord } from '../../../src/image/tree.ts';
import { isSameState, statesAfterExecve, unsaidOfProcess, unsaidOfThread } from '../../../src/linux-cr/unsaid.ts';
import { processAspects, threadAspects } from '../../../src/resources/registry.ts';
import { sideOf } from '../../../src/restart/command-states.ts';
import { goodHost } from '../restart/models.ts';

const sides = [
  { whose: 'the process', aspects: processAspects, table: unsaidOfProcess, own: 'processStates' as const },
  { whose: 'the thread', aspects: threadAspects, table: unsaidOfThread, own: 'threadStates' as const },
];

describe.each(sides)('what a stream of 2008 does not say of $whose', ({ aspects, table, own }) => {
  it('is every aspect that an image has', () => {
    expect(Object.keys(table).sort()).toEqual(aspects.map(({ name }) => name).sort());
  });

  it('is filled with states that their kinds take', () => {
    for (const [name, state] of Object.entries(statesAfterExecve(table))) {
      const schema = aspects.find((aspect) => aspect.name === name)?.schema;
      expect(schema, name).toBeDefined();
      if (schema !== undefined) expect(() => parseState(schema, state, name)).not.toThrow();
    }
  });

  it('comes from the restart command where the kind can tell, and is told by it alone', () => {
    const states = sideOf(goodHost)[own];
    const fromCommand = Object.entries(table).flatMap(([name, { from }]) => (from === 'command' ? [name] : []));
    // Nothing is restored from the surroundings, and an image need not have them.
    expect(Object.keys(states).sort()).toEqual(fromCommand.filter((name) => name !== 'surroundings').sort());
    for (const [name, state] of Object.entries(states)) {
      const schema = aspects.find((aspect) => aspect.name === name)?.schema;
      if (schema !== undefined) expect(() => parseState(schema, state, name)).not.toThrow();
    }
  });
});

describe('an export', () => {
  it('knows every field of the records that it takes apart: a new one needs a place in it, or a refusal', () => {
    expect(Object.keys(TaskRecord.entries).sort()).toEqual(
      [
        ...['addressBits', 'clocks', 'comm', 'files', 'layoutBits', 'memory', 'pid', 'saver', 'threads', 'vdso'],
        // Of a tree, of which a stream has one process: it begins in the session of the command, and runs.
        ...['exitSignal', 'parent', 'processGroup', 'session', 'stopped', 'fileSystem', 'handlers'],
        // Of threads, of which a stream has one.
        ...['apart', 'leaderStatus'],
      ].sort(),
    );
    expect(Object.keys(MemoryRecord.entries).sort()).toEqual([
      'allocatedKeys',
      'executeOnlyKey',
      'mappings',
      'pages',
      'parent',
      // Of a tree.
      'relatives',
    ]);
    expect(Object.keys(ThreadStateRecord.entries).sort()).toEqual(['aspects', 'signalMask', 'waitedNs']);
    expect(Object.keys(MappingState.entries).sort()).toEqual(
      ['end', 'flags', 'guards', 'hasPages', 'kind', 'offset', 'protection', 'protectionKey', 'start', 'state'].sort(),
    );
  });
});

it('states are the same in whatever form their numbers are, and without what is as it is by default', () => {
  const usual = { a: 0, b: [1, 2], c: { d: 5n }, e: new Uint8Array([1]) };
  expect(isSameState({ a: 0n, b: [1n, 2], c: { d: 5 }, e: Buffer.from([1]) }, usual)).toBe(true);
  expect(isSameState({ a: 0 }, usual)).toBe(true);
  expect(isSameState({ ...usual, a: 1 }, usual)).toBe(false);
  expect(isSameState({ ...usual, b: [1, 2, 3] }, usual)).toBe(false);
  expect(isSameState({ ...usual, f: 0 }, usual)).toBe(false);
  expect(isSameState({ ...usual, e: new Uint8Array([2]) }, usual)).toBe(false);
  expect(isSameState({ ...usual, a: false }, usual)).toBe(false);
  expect(isSameState([], {})).toBe(false);
});
