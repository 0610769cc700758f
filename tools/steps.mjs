// Runs the steps of `npm run ok` and `npm test`: all of them, also after a failure, so that one run shows everything that
// is wrong. Steps with tests leave their counts in a file (tools/count-reporter.ts); the last line printed is their sum.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** `tests: true` for a step that runs tests and must leave counts. */
export const OK_STEPS = [
  { name: 'format', command: ['biome', 'format', '.'] },
  { name: 'lint', command: ['biome', 'lint', '--error-on-warnings', '.'] },
  { name: 'types', command: ['tsc', '--noEmit'] },
  { name: 'types of the report page', command: ['tsc', '--noEmit', '-p', 'tsconfig.page.json'] },
  { name: 'layers', command: ['depcruise', '--config', '.dependency-cruiser.cjs', 'src'] },
  { name: 'records of the image format', command: [process.execPath, 'tools/check-records.mjs'] },
  { name: 'unit and abi tests', command: ['vitest', 'run', '--project', 'unit'], tests: true },
];

export const SETUP_STEPS = [
  { name: 'set-up', command: [process.execPath, 'tools/setup-debian.mjs'] },
  { name: 'newer versions of Node', command: [process.execPath, 'tools/setup-nodes.mjs'] },
];
export const BUILD_STEP = { name: 'build', command: [process.execPath, 'tools/build.mjs'] };
export const SYSTEM_STEP = {
  name: 'system tests',
  command: [process.execPath, 'tools/system-tests.mjs'],
  tests: true,
  needs: 'build',
};

/** Runs the steps, prints skips, failed steps and the count line, and sets the exit status. */
export function runSteps(steps) {
  const scratch = mkdtempSync(join(tmpdir(), 'quicksave-test-'));
  const total = { passed: 0, failed: 0, skipped: 0, skips: [] };
  const failures = [];
  try {
    for (const [index, step] of steps.entries()) {
      if (failures.some((failure) => failure.name === step.needs)) {
        failures.push({ name: step.name, why: `not run, because ${step.needs} failed` });
        continue;
      }
      const why = runStep(step, join(scratch, `${index}.json`), total);
      if (why !== undefined) failures.push({ name: step.name, why });
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  printSummary(total, failures);
  process.exitCode = failures.length > 0 || total.failed > 0 ? 1 : 0;
}

/** Returns why the step failed, or undefined. */
function runStep(step, countsFile, total) {
  console.log(`\n> ${step.name}`);
  const result = spawnSync(step.command[0], step.command.slice(1), {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
      QUICKSAVE_TEST_COUNTS: countsFile,
    },
  });
  const ending = endingOf(result);
  if (!step.tests) return ending;
  if (!existsSync(countsFile)) return ending ?? 'it left no counts';
  const counts = JSON.parse(readFileSync(countsFile, 'utf8'));
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  total.skips.push(...counts.skips);
  if (counts.passed + counts.failed + counts.skipped === 0) return 'it ran no test';
  return ending;
}

function endingOf(result) {
  if (result.error) return result.error.message;
  if (result.signal) return `ended by ${result.signal}`;
  return result.status === 0 ? undefined : `exit status ${result.status}`;
}

function printSummary(total, failures) {
  console.log('');
  if (total.skips.length > 0) console.log('skipped:');
  for (const skip of total.skips) console.log(`  ${skip.name}: ${skip.reason}`);
  for (const failure of failures) console.log(`step failed: ${failure.name} (${failure.why})`);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
}
