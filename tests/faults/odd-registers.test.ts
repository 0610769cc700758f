/**
 * Images whose registers were changed at random: each is refused by a sentence before any process is made, or gives a process
 * that runs until its own registers end it. None is left stuck.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RECORD } from '../../src/image/record-types.ts';
import {
  compiled,
  full,
  gone,
  isAlive,
  newFolder,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  waitFor,
} from '../support/harness.ts';
import { type Piece, putTogether, takeApart } from '../support/image-surgery.ts';

const ROUNDS = full ? 500 : 40;
/** Registers, debug registers, bases of fs and gs: offsets in a CPU record. */
const FIELDS = [...Array.from({ length: 33 }, (_, index) => index * 8), 784, 792];
/** Selectors, addresses at every border, and bits of their own. */
const VALUES = [
  0x0n,
  0x3n,
  0x7n,
  0xfn,
  0x10n,
  0x23n,
  0x2bn,
  0x33n,
  0x53n,
  0x63n,
  0x7bn,
  0xffffn,
  0x1000n,
  0xffff_f000n,
];
const BORDERS = [0x1_0000_0000n, 0x7fff_ffff_efffn, 0x8000_0000_0000n, 0xffff_8000_0000_0000n, 2n ** 64n - 512n];

/** The same numbers in every run. */
function randomNumbers(): (below: number) => number {
  let state = 0x2545_f491_4f6c_dd1dn;
  return (below) => {
    state = BigInt.asUintN(64, state ^ (state << 13n));
    state ^= state >> 7n;
    state = BigInt.asUintN(64, state ^ (state << 17n));
    return Number(state % BigInt(below));
  };
}

function withOddRegisters(pieces: readonly Piece[], random: (below: number) => number): Buffer {
  const values = [...VALUES, ...BORDERS];
  const changed = pieces.map((piece) => {
    if (piece.type !== RECORD.CPU) return piece;
    const payload = Buffer.from(piece.payload);
    for (let change = 0; change <= random(3); change++) {
      const field = FIELDS[random(FIELDS.length)] ?? 0;
      const value = random(4) === 0 ? 1n << BigInt(random(64)) : (values[random(values.length)] ?? 0n);
      payload.writeBigUInt64LE(value, field);
    }
    return { ...piece, payload };
  });
  return putTogether(changed);
}

test.each([
  { what: 'a 64-bit program', flags: ['-no-pie'] },
  { what: 'a 32-bit program', flags: ['-m32', '-no-pie'] },
])(
  'odd registers of $what are refused, or end it',
  async ({ flags }) => {
    const folder = newFolder();
    const target = start(folder, compiled('two-modes', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    const pieces = takeApart(readFileSync(image));
    const random = randomNumbers();
    const outcomes = { refused: 0, made: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      writeFileSync(image, withOddRegisters(pieces, random));
      // One that ran for a moment may have written to its output.
      const restart = run(['restart', '--files', 'accept-changed', image]);
      let ended = false;
      void restart.done.then(() => {
        ended = true;
      });
      // While it is made it is traced; before that it has another name.
      const runs = (): boolean =>
        /^Name:\ttwo-modes.*\nTracerPid:\t0\n/s.test(readIfThere(`/proc/${target.pid}/status`) ?? '');
      await waitFor('the restart to end, or the program to run', () => ended || runs());
      if (!ended && isAlive(target.pid)) {
        remember(target.pid);
        process.kill(target.pid, 'SIGKILL');
      }
      const result = await restart.done;
      await gone(target.pid);
      // Threads go one after the other: the first may have ended the program before the last has been let go.
      const wasMade = /restarted process|ended while it was being resumed/.test(result.stderr);
      if (!wasMade) {
        expect(result.stderr, `round ${round}`).toMatch(/record of thread|Segments of thread/);
        outcomes.refused++;
      } else {
        outcomes.made++;
      }
    }
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(outcomes.made).toBeGreaterThan(0);
  },
  full ? 600_000 : 120_000,
);
