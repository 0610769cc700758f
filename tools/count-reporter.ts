/**
 * Counts the tests of one run. The counts go into the file named by QUICKSAVE_TEST_COUNTS, for the step runner to add up;
 * without it, the skips and the count line are printed here.
 */
import { writeFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  readonly skips: { readonly name: string; readonly reason: string }[];
}

function countTest(test: TestCase, counts: Counts): void {
  const result = test.result();
  if (result.state === 'passed') counts.passed++;
  else if (result.state === 'failed') counts.failed++;
  else {
    counts.skipped++;
    const reason = (result.state === 'skipped' ? result.note : undefined) ?? reasonOutside(test);
    counts.skips.push({ name: test.fullName, reason });
  }
}

function reasonOutside(test: TestCase): string {
  for (let parent = test.parent; parent.type !== 'module'; parent = parent.parent) {
    if (parent.errors().length > 0) return 'its set-up failed';
  }
  return 'no reason given';
}

/** A file that cannot be loaded or a failed hook is a failure too, though no test carries it. */
function countModule(module: TestModule, counts: Counts): void {
  counts.failed += module.errors().length;
  for (const suite of module.children.allSuites()) counts.failed += suite.errors().length;
  for (const test of module.children.allTests()) countTest(test, counts);
}

export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const counts: Counts = { passed: 0, failed: unhandledErrors.length, skipped: 0, skips: [] };
    for (const module of modules) countModule(module, counts);
    const file = process.env.QUICKSAVE_TEST_COUNTS;
    if (file === undefined) printCounts(counts);
    else writeFileSync(file, JSON.stringify(counts));
  }
}

function printCounts(counts: Counts): void {
  for (const skip of counts.skips) console.log(`skipped: ${skip.name}: ${skip.reason}`);
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
}
