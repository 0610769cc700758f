// How long does the command take to begin at all?
import { command, judge, report, rounds, timed } from '../measure.mjs';

export async function ask(count) {
  const found = await rounds(count * 2, () => ({
    node: timed(process.execPath, ['-e', '0']).ms,
    version: timed(command, ['--version']).ms,
    usage: timed(command, ['checkpoint', '--help']).ms,
  }));
  return [
    report('node -e 0', found.node),
    judge('quicksave --version', found.version, () => 100, '100 ms'),
    judge('quicksave checkpoint --help', found.usage, () => 100, '100 ms'),
  ];
}
