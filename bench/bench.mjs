// `npm run bench [-- QUESTION… --rounds N --json --save]` asks all questions, or those that are named; see questions/. A target
// that is missed is a result and no failure. --json prints data (use npm run -s), --save writes RESULTS.md.
import { readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cleanUp, root } from './processes.mjs';
import { document, machine, table } from './report.mjs';

const known = readdirSync(join(root, 'bench', 'questions')).map((name) => basename(name, '.mjs'));

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
    },
  });
  if (!/^[1-9]\d{0,3}$/.test(values.rounds)) throw new Error('--rounds takes a number from 1');
  const strange = positionals.filter((name) => !known.includes(name));
  if (strange.length > 0) throw new Error(`no question ${strange.join(', ')}; there are ${known.join(', ')}`);
  if (values.save && positionals.length > 0) throw new Error('--save takes all questions');
  return { ...values, rounds: Number(values.rounds), questions: positionals.length > 0 ? positionals : known };
}

function parseOrExit() {
  try {
    return parse();
  } catch (error) {
    console.error(`bench: ${error.message}`);
    process.exit(2);
  }
}

const options = parseOrExit();
const host = machine();
const results = [];
for (const name of options.questions) {
  console.error(`${name} …`);
  try {
    const { ask } = await import(`./questions/${name}.mjs`);
    results.push(...(await ask(options.rounds)));
  } catch (error) {
    console.error(`bench: ${name} could not be run: ${error.message}`);
    process.exitCode = 1;
  } finally {
    cleanUp();
  }
}
console.log(options.json ? JSON.stringify({ ...host, rounds: options.rounds, results }, undefined, 2) : table(results));
if (options.save && process.exitCode !== 1) {
  writeFileSync(join(root, 'bench', 'RESULTS.md'), document(host, options.rounds, results));
}
