// `npm run soak [-- --rounds N] [--save]`: tests/scenarios/soak.test.ts with so many generations (default 1000). Prints its numbers; with
// --save they become bench/SOAK.md. Needs a build and root.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1000' }, save: { type: 'boolean', default: false } },
});
if (!/^[1-9]\d{0,5}$/.test(values.rounds)) {
  console.error('soak: --rounds takes a number from 1');
  process.exit(2);
}
const scratch = mkdtempSync(join(tmpdir(), 'quicksave-soak-'));
try {
  const report = values.save ? join(root, 'bench', 'SOAK.md') : join(scratch, 'report');
  const env = { ...process.env, QUICKSAVE_SOAK_ROUNDS: values.rounds, QUICKSAVE_SOAK_REPORT: report };
  const tests = ['tools/system-tests.mjs', 'tests/scenarios/soak.test.ts'];
  const { status } = spawnSync(process.execPath, tests, { cwd: root, stdio: 'inherit', env });
  process.exitCode = status ?? 1;
  if (status === 0) console.log(readFileSync(report, 'utf8'));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
