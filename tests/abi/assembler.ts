/** Assembles x86-64 source with the system's binutils, and reads machine code out of our sources as it is written there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Assembled {
  readonly bytes: Buffer;
  /** Offset of every symbol, in the order of the source. */
  readonly labels: Readonly<Record<string, number>>;
}

export const hasAssembler = (): boolean =>
  ['as', 'objcopy', 'nm'].every((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0);

function run(command: string, args: readonly string[]): string {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${command} failed:\n${result.stderr}`);
  return result.stdout;
}

/** Intel syntax, without % before registers, as in machine-code.S. */
export function assemble(source: string): Assembled {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-assembler-'));
  try {
    const [text, object, binary] = ['code.s', 'code.o', 'code.bin'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(text, `.intel_syntax noprefix\n.text\n${source}\n`);
    run('as', ['--64', '-o', object, text]);
    run('objcopy', ['-O', 'binary', '-j', '.text', object, binary]);
    return { bytes: readFileSync(binary), labels: labelsOf(run('nm', ['--numeric-sort', object])) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function labelsOf(listing: string): Record<string, number> {
  return Object.fromEntries(
    listing
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .filter((words) => words.length === 3)
      .map(([address = '', , name = '']) => [name, Number.parseInt(address, 16)]),
  );
}

const source = (file: string): string => readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8');

/** Every `Buffer.from(…, 'hex')` with literals in a source text, its pieces put together. */
function hexConstants(text: string): { digits: string; before: string }[] {
  return [...text.matchAll(/Buffer\.from\(([^;]*?),?\s*'hex',?\s*\)/g)]
    .map((match) => ({
      digits: [...(match[1] ?? '').matchAll(/'([0-9a-f]+)'/g)].map(([, piece]) => piece).join(''),
      before: text.slice(0, match.index),
    }))
    .filter(({ digits }) => digits !== '');
}

/** The machine code that a source file gives to `const name`. Throws if there is none. */
export function machineCodeIn(file: string, name: string): Buffer {
  const found = hexConstants(source(file)).filter(({ before }) =>
    new RegExp(`const ${name} = (callable\\()?\\s*$`).test(before),
  );
  const [only] = found;
  if (only === undefined || found.length > 1) {
    throw new Error(`src/${file} has ${found.length} machine codes called ${name}, not one`);
  }
  return Buffer.from(only.digits, 'hex');
}

/** The value of `const name = 123` in a source file. */
export function numberIn(file: string, name: string): number {
  const found = new RegExp(`^(?:export )?const ${name} = (\\d+);`, 'm').exec(source(file))?.[1];
  if (found === undefined) throw new Error(`src/${file} has no number ${name}`);
  return Number(found);
}

/** How many hexadecimal constants a source file has. */
export const countHexConstants = (file: string): number => hexConstants(source(file)).length;
