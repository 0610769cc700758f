/** The code of the commands that the build has kept (src/cli/compiled-bundle.ts). */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { command } from '../support/harness.ts';

const flagsOfCommand = (readFileSync(command, 'utf8').split('\n', 1)[0] ?? '').split(' ').slice(3);
const bundle = new URL('../../dist/compiled-bundle.js', import.meta.url).href;

const isFromCode = (...flags: readonly string[]): string => {
  const source = `import('${bundle}').then(({ loadBundle }) => console.log(loadBundle('commands').isFromCode))`;
  return execFileSync(process.execPath, [...flags, '-e', source], { encoding: 'utf8' }).trim();
};

test('is taken by the command, which is started with the flags that it was made with', () => {
  expect(flagsOfCommand).toEqual(['--single-threaded-gc']);
  expect(isFromCode(...flagsOfCommand)).toBe('true');
});

test('is not needed: with other flags of the engine all is compiled anew', () => {
  const other = '--no-lazy';
  expect(isFromCode(other)).toBe('false');
  const { status, stdout } = spawnSync(process.execPath, [other, command, 'version', '--json'], { encoding: 'utf8' });
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty('version');
});
