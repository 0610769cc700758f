// `npm run fuzz [-- --minutes N] [--seed N]`: tests/fuzz for so many minutes (default 10), from a seed of its own unless one is given.
// Needs no build and no root.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string' } } });
const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));
console.log(`fuzzing for ${values.minutes} minutes from seed ${seed}`);
const env = { ...process.env, QUICKSAVE_FUZZ_MINUTES: values.minutes, QUICKSAVE_FUZZ_SEED: seed };
const vitest = join(root, 'node_modules', '.bin', 'vitest');
const { status } = spawnSync(vitest, ['run', '--project', 'unit', 'tests/fuzz'], { cwd: root, stdio: 'inherit', env });
process.exitCode = status ?? 1;
