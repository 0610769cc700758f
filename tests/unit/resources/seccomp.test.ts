/** Filters of the threads of one process: which are shared, in what order they come back, and who may give them. */
import { describe, expect, it } from 'vitest';
import type { HostView } from '../../../src/resources/resource.ts';
import { seccomp } from '../../../src/resources/thread/seccomp.ts';
import { type Restored, restored, TID } from './in-a-batch.ts';

interface Filter {
  readonly program: Buffer;
  readonly log: boolean;
}

/** Told apart by its number, which its only instruction returns; `count` times that. */
const filter = (number: number, log = false, count = 1): Filter => {
  const program = Buffer.alloc(8 * count);
  for (let at = 0; at < program.length; at += 8) program.writeUInt32LE(number, at + 4);
  return { program, log };
};

/** What is installed, in order: the number of each filter, its length and whether it is logged. */
const installed = ({ calls, at }: Restored) =>
  calls.map(({ name, args: [operation, flags = 0, address] }) => {
    expect([name, operation]).toEqual(['seccomp', 1]);
    const passed = at(address);
    const program = at(Number(passed.readBigUInt64LE(8)));
    return [program.readUInt32LE(4), passed.readUInt16LE(0), flags];
  });

const SPEC_ALLOW = 4;
const LOG = 2;

describe('seccomp filters', () => {
  const [a, b, c, d] = [filter(1), filter(2, true), filter(3), filter(4)];
  const states = (...threads: Filter[][]) => threads.map((filters) => ({ filters }));
  const bequeathed = (all: readonly { filters: Filter[] }[]) =>
    installed(restored(({ batch }) => seccomp.bequeath?.(all, { batch }))).map(([number]) => number);
  const finished = (all: readonly { filters: Filter[] }[]) =>
    all.map((state) =>
      installed(restored(({ batch }) => seccomp.finish?.(state, { batch }, all))).map(([number]) => number),
    );

  it('are installed before there are other threads as far as all have them, and for the rest in each', () => {
    const all = states([a, b, c], [a, b], [a, b, d, c]);
    expect(bequeathed(all)).toEqual([1, 2]);
    expect(finished(all)).toEqual([[3], [], [4, 3]]);
  });

  it('are all shared where all are the same, also by a thread alone', () => {
    for (const all of [states([a, b]), states([a, b], [a, b])]) {
      expect(bequeathed(all)).toEqual([1, 2]);
      expect(finished(all)).toEqual(all.map(() => []));
    }
  });

  it('are not shared with a thread that has none, or has the same with another flag', () => {
    for (const other of [[], [filter(1, true)], [filter(1, false, 2)]]) {
      expect(bequeathed(states([a], other))).toEqual([]);
    }
  });

  it('keep their length and their flag, and leave the mitigations of speculation alone', () => {
    const all = states([filter(7, true, 4096), filter(8)]);
    expect(installed(restored(({ batch }) => seccomp.bequeath?.(all, { batch })))).toEqual([
      [7, 4096, SPEC_ALLOW | LOG],
      [8, 1, SPEC_ALLOW],
    ]);
  });

  it('need suspension where there are any', () => {
    expect(seccomp.needsSuspendedSeccomp?.({ filters: [a] })).toBe(true);
    expect(seccomp.needsSuspendedSeccomp?.({ filters: [] })).toBe(false);
  });

  it.each([
    ['has no CAP_SYS_ADMIN', { capEffective: 0n, seccompMode: 0 }],
    ['has a filter itself', { capEffective: 2n ** 41n - 1n, seccompMode: 2 }],
  ])('are not given by a command that %s', (_, status) => {
    const host = { status } as unknown as HostView;
    const problems = seccomp.plan?.({ filters: [a] }, host, TID) ?? [];
    expect(problems.map(({ code, path }) => [code, path])).toEqual([['no-seccomp-suspension', [`thread ${TID}`]]]);
    expect(seccomp.plan?.({ filters: [] }, host, TID)).toEqual([]);
  });
});
