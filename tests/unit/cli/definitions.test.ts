/** What is made from the definitions of the commands: completion, manual pages, help. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { coloured } from '../../../src/cli/colour.ts';
import { completionOf, shells } from '../../../src/cli/completion.ts';
import { examples } from '../../../src/cli/examples.ts';
import { environment } from '../../../src/cli/man-page.ts';
import { pages } from '../../../src/cli/manual.ts';
import { program } from '../../../src/cli/program.ts';
import { VERSION } from '../../../src/support/version.ts';

const root = program(() => Promise.reject(new Error('nothing is to be done')));
const names = root.commands.map((command) => command.name());

/** Runs a program with this input; undefined if it is not on this machine. */
function answerOf(
  file: string,
  args: readonly string[],
  input: string,
): { status: number | null; text: string } | undefined {
  const result = spawnSync(file, args, { input, encoding: 'utf8' });
  if (result.error !== undefined) return undefined;
  return { status: result.status, text: result.stdout + result.stderr };
}

describe('completion', () => {
  test.for([
    [['in'], ['inspect']],
    [['run', '--kee'], ['--keep']],
    [
      ['inspect', '--m'],
      ['--maps', '--memory'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['--deb'], ['--debug']],
    [['checkpoint', '1', '--tcp', 'cl'], ['close']],
    [['status', '/boo'], ['/boot']],
    [['run', '--dir', '/boo'], ['/boot']],
    [['restart', import.meta.filename.slice(0, -1)], [import.meta.filename]],
  ])('bash completes %j', ([words, expected]) => {
    const line = ['quicksave', ...(words ?? [])].map((word) => `'${word}'`).join(' ');
    const script = `${completionOf(root, 'bash')}
      COMP_WORDS=(${line}); COMP_CWORD=${words?.length}; _quicksave; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect(answerOf('bash', ['--norc'], script)).toEqual({ status: 0, text: `${expected?.join('\n')}\n` });
  });

  test('bash completes the pids that there are', () => {
    const script = `${completionOf(root, 'bash')}
      COMP_WORDS=(quicksave checkpoint ''); COMP_CWORD=2; _quicksave; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect(answerOf('bash', ['--norc'], script)?.text.split('\n')).toContain(String(process.pid));
  });

  test.for(shells)('%s reads its script', (shell, context) => {
    const answer = answerOf(shell, [shell === 'fish' ? '--no-execute' : '-n', '-c', completionOf(root, shell)], '');
    if (answer === undefined) context.skip(`${shell} is not installed`);
    expect(answer).toEqual({ status: 0, text: '' });
  });

  test('fish completes a command and its options', (context) => {
    const ask = (line: string): string | undefined =>
      answerOf('fish', ['--no-config', '-c', `${completionOf(root, 'fish')}\ncomplete -C '${line}'`], '')?.text;
    const commands = ask('quicksave insp');
    if (commands === undefined) context.skip('fish is not installed');
    expect(commands).toMatch(/^inspect\t/m);
    expect(ask('quicksave run --kee')).toMatch(/^--keep\t/m);
    expect(ask('quicksave completion ')).toBe('bash\nfish\nzsh\n');
    expect(ask('quicksave restart --files acc')).toMatch(/^accept-changed\t/);
    expect(ask('quicksave --deb')).toMatch(/^--debug/);
  });
});

describe('manual pages', () => {
  test('there is one for each command, and one for all', () => {
    expect(pages.map(({ file }) => file)).toEqual(['quicksave.1', ...names.map((name) => `quicksave-${name}.1`)]);
  });

  test.for(pages)('$file is shown without a complaint', ({ text }, context) => {
    const answer = answerOf('groff', ['-man', '-Tutf8', '-ww', '-z'], text);
    if (answer === undefined) context.skip('groff is not installed');
    expect(answer).toEqual({ status: 0, text: '' });
  });

  test('every variable that a command reads is named', () => {
    const read = root.commands.flatMap(({ options }) => options.flatMap(({ envVar }) => envVar ?? []));
    const named = environment.flatMap(([name]) => name.split(', '));
    expect(named).toEqual(expect.arrayContaining(read));
    expect(read.length).toBeGreaterThan(4);
  });
});

test('every command has an example, which begins with it', () => {
  expect(Object.keys(examples).sort()).toEqual([...names].sort());
  for (const [name, list] of Object.entries(examples)) {
    for (const { line } of list) expect(line).toContain(`quicksave ${name}`);
  }
});

test('the version is that of the package', () => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  expect((JSON.parse(text) as { version: string }).version).toBe(VERSION);
});

test('there are no colours where there is no terminal', () => {
  expect(coloured(-1, 'red', 'text')).toBe('text');
});
