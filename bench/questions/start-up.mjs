// How long does the command take to begin at all?
import { atMost, result, rounds } from '../measure.mjs';
import { quicksave, timed } from '../processes.mjs';

export async function ask(count) {
  const found = await rounds(count, [
    () => ({ node: timed(process.execPath, ['-e', '0']).ms }),
    () => ({ version: quicksave('--version').ms }),
    () => ({ check: quicksave('check').ms }),
  ]);
  const options = { reference: ['node -e 0', found.node], target: atMost(100) };
  return [result('quicksave --version', found.version, options), result('quicksave check', found.check, options)];
}
