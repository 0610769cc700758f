// Assembles src/arch/x86/machine-code.S with the system's tools and writes the bytes and labels into machine-code.ts.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..', 'src', 'arch', 'x86');
const work = mkdtempSync(join(tmpdir(), 'quicksave-assemble-'));
try {
  const object = join(work, 'code.o');
  const binary = join(work, 'code.bin');
  execFileSync('gcc', ['-c', join(folder, 'machine-code.S'), '-o', object]);
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, binary]);
  const labels = execFileSync('nm', ['--defined-only', '-g', '-n', object], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([address, , name]) => `  ${name}: 0x${Number.parseInt(address, 16).toString(16)},`);
  const lines =
    readFileSync(binary)
      .toString('hex')
      .match(/.{1,96}/g) ?? [];
  const target = join(folder, 'machine-code.ts');
  const text = readFileSync(target, 'utf8')
    .replace(
      /(const assembled = Buffer\.from\(\n {2}\[\n)[^\]]*( {2}\]\.join)/,
      `$1${lines.map((line) => `    '${line}',\n`).join('')}$2`,
    )
    .replace(/(export const routines = \{\n)[^}]*(\} as const;)/, `$1${labels.join('\n')}\n$2`);
  writeFileSync(target, text);
} finally {
  rmSync(work, { recursive: true });
}
