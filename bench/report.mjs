// Results as a table, and the table with what one has to know about the machine.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';

export function machine() {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  return {
    date: new Date().toISOString().slice(0, 10),
    kernel: release(),
    cpu: model,
    cores: cpus().length,
    node: process.versions.node,
    loadBefore: loadavg()[0],
  };
}

const COLUMNS = ['', 'ms: min / median', 'reference', 'ms', 'ratio', 'target', 'ms', 'target met'];

/** Every pair of numbers is that of the minimums and that of the medians. */
export function table(results) {
  const rows = results.map(({ what, minMs, medianMs, reference, ratio, target, targetMet }) => [
    what,
    pair(minMs, medianMs),
    reference?.what ?? '',
    pair(reference?.minMs, reference?.medianMs),
    pair(ratio?.ofMinimums, ratio?.ofMedians),
    target?.what ?? '',
    pair(target?.minMs, target?.medianMs),
    targetMet === undefined ? '' : targetMet ? 'yes' : 'no',
  ]);
  const widths = COLUMNS.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index].length)));
  const line = (cells) => `| ${cells.map((cell, index) => cell.padEnd(widths[index])).join(' | ')} |`;
  return [line(COLUMNS), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

const pair = (min, median) => (min === undefined ? '' : `${short(min)} / ${short(median)}`);
const short = (value) => value.toFixed(value < 10 ? 2 : 1);

export function document({ date, kernel, cpu, cores, node, loadBefore }, rounds, results) {
  return `# Results of the benchmark

Made by \`npm run bench -- --save\` on ${date}, with ${rounds} rounds: Linux ${kernel}, ${cores} cores of ${cpu}, Node ${node};
load average ${loadBefore.toFixed(2)} before the run. Times are those of whole commands unless it says pause. A reference is
measured in the same rounds as what it is compared with. Images are on tmpfs, pages not compressed. A target is met if both the
minimum and the median are within it.

${table(results)}
`;
}
