// `npm run test:full`: the system tests that have a long form (`full` of tests/support/harness.ts), in that form. With names as
// arguments only the files whose name contains one of them.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUILD_STEP, runSteps, SETUP_STEPS, SYSTEM_STEP } from './steps.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const names = process.argv.slice(2);

const files = readdirSync(join(root, 'tests'), { recursive: true })
  .map((name) => join('tests', name))
  .filter((path) => path.endsWith('.test.ts'))
  .filter((path) => /\bfull \?/.test(readFileSync(join(root, path), 'utf8')))
  .filter((path) => names.length === 0 || names.some((name) => path.includes(name)))
  .sort();

process.env.QUICKSAVE_FULL = '1';
const system = { ...SYSTEM_STEP, command: [...SYSTEM_STEP.command, ...files] };
if (files.length === 0) {
  console.error('no test of that name has a long form');
  process.exitCode = 2;
} else {
  console.log(`in their long form:\n  ${files.join('\n  ')}`);
  runSteps([...SETUP_STEPS, BUILD_STEP, system]);
}
