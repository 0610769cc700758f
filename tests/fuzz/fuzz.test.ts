/**
 * Whatever others may have changed is read, or refused with a sentence; never does a reader crash, hang, or take memory without bound. `npm run
 * fuzz` goes on for as long as it is told; what it finds goes into the corpus, which every run tries first.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { images } from './images.ts';
import { netlinkAnswers, procFiles } from './kernel-texts.ts';
import { randomFrom } from './random.ts';
import { examine, type Subject } from './subject.ts';

const corpus = new URL('corpus', import.meta.url).pathname;
const minutes = Number(process.env['QUICKSAVE_FUZZ_MINUTES'] ?? 0);
/** The first seed; each round has one of its own, so that one round can be had again. */
const firstSeed = Number(process.env['QUICKSAVE_FUZZ_SEED'] ?? 1);
const LIMIT_MS = minutes * 60_000 + 120_000;

const groups: readonly {
  readonly what: string;
  readonly subjects: readonly Subject[];
  readonly rounds: number;
  readonly share: number;
}[] = [
  { what: 'images', subjects: [images], rounds: 400, share: 0.8 },
  { what: 'files of /proc', subjects: procFiles, rounds: 6000, share: 0.1 },
  { what: 'answers by netlink', subjects: netlinkAnswers, rounds: 3000, share: 0.1 },
];
const subjects = groups.flatMap((group) => group.subjects);

test.each(subjects)('$name is read as it should be', (subject) => {
  for (const seed of subject.seeds) for (const read of subject.readers.slice(0, 2)) read(seed);
});

test.each(readdirSync(corpus).filter((name) => name.endsWith('.bin')))('%s, found before, is found no more', (name) => {
  const subject = subjects.find((one) => name.startsWith(`${one.name}.`));
  expect(subject, 'whose it is').toBeDefined();
  if (subject !== undefined) examine(subject, readFileSync(join(corpus, name)));
});

test.each(groups)(
  'changed $what are read or refused',
  { timeout: LIMIT_MS },
  ({ what, subjects: own, rounds, share }) => {
    const until = Date.now() + minutes * 60_000 * share;
    let taken = 0;
    let round = 0;
    for (; round < rounds || Date.now() < until; round++) {
      const seed = firstSeed + round;
      const random = randomFrom(seed);
      const subject = random.oneOf(own);
      const input = subject.mutate(random.oneOf(subject.seeds), random);
      try {
        taken += examine(subject, input);
      } catch (error) {
        throw new Error(
          `seed ${seed}, kept as ${keep(subject, input)}: ${error instanceof Error ? error.stack : error}`,
        );
      }
    }
    if (minutes > 0) console.log(`${what}: ${round} rounds from seed ${firstSeed}, ${taken} readings to the end`);
    // Changes that leave nothing to be read would show little.
    expect(taken).toBeGreaterThan(round / 20);
  },
);

/** Puts it into the corpus, whole. */
function keep({ name }: Subject, input: Buffer): string {
  const file = `${name}.${createHash('sha256').update(input).digest('hex').slice(0, 12)}.bin`;
  writeFileSync(join(corpus, file), input);
  return file;
}
