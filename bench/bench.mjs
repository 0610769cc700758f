// `npm run bench [-- QUESTION…] [--rounds N] [--json] [--save]`: asks all questions, or those that are named. A missed target is
// a result and no failure. --save writes RESULTS.md.
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cleanUp, root, save } from './measure.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});
const count = Number(values.rounds);
const known = readdirSync(join(root, 'bench', 'questions')).map((name) => basename(name, '.mjs'));
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0 || !Number.isInteger(count) || count < 1) {
  console.error(`bench: the questions are ${known.join(', ')}; --rounds takes a number from 1.`);
  process.exit(2);
}

const lines = [];
try {
  for (const name of known) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    console.error(`${name} …`);
    const { ask } = await import(`./questions/${name}.mjs`);
    lines.push(...(await ask(count)));
  }
} finally {
  cleanUp();
}

const table = render(lines);
console.log(values.json ? JSON.stringify(lines, undefined, 2) : table);
if (values.save) save(join(root, 'bench', 'RESULTS.md'), document(table));

function render(results) {
  const header = ['', 'min ms', 'median ms', 'limit', 'min ms', 'median ms', 'median / limit', 'met'];
  const rows = results.map((line) => [
    line.what,
    line.minMs.toFixed(1),
    line.medianMs.toFixed(1),
    line.limit ?? '',
    line.limitMinMs?.toFixed(1) ?? '',
    line.limitMedianMs?.toFixed(1) ?? '',
    line.ratio?.toFixed(2) ?? '',
    line.met === undefined ? '' : line.met ? 'yes' : 'no',
  ]);
  const widths = header.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index].length)));
  const line = (cells) => `| ${cells.map((cell, index) => cell.padEnd(widths[index])).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function document(text) {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const today = new Date().toISOString().slice(0, 10);
  return `# Results

${today}, Linux ${release()}, ${cpus().length} cores of ${model}, Node ${process.versions.node}. Made by \`npm run bench -- --save\`
with ${count} rounds; everything that is compared was measured in the same round. Image on tmpfs, pages not compressed.

${text}
`;
}
