/** The scripts for the other host, run by the shell here. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { sshError } from '../../../src/remote/ssh-errors.ts';
import {
  doneLine,
  READ_SCRIPT,
  readyLine,
  SCRIPT_EXIT,
  TOKEN_LENGTH,
  WRITE_SCRIPT,
} from '../../../src/remote/ssh-scripts.ts';
import { parseAddress } from '../../../src/support/address.ts';

const folder = mkdtempSync(join(tmpdir(), 'quicksave-ssh-'));
afterAll(() => rmSync(folder, { recursive: true }));

const token = 'c'.repeat(TOKEN_LENGTH);
const image = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7) & 0xff));
const path = join(folder, `-it's "$(x)\`y\`\\ !`);

function shell(script: string, ...input: (string | Buffer)[]): { status: number | null; stdout: Buffer } {
  return spawnSync('sh', ['-c', script], { input: Buffer.concat(input.map((one) => Buffer.from(one))), cwd: folder });
}

const write = (...rest: (string | Buffer)[]): ReturnType<typeof shell> =>
  shell(WRITE_SCRIPT, `${path}\n${token}\n`, ...rest);

test('every login shell hands the scripts on as they are', () => {
  for (const script of [WRITE_SCRIPT, READ_SCRIPT]) {
    expect(script).toMatch(/^exec sh -c '[^'\\!\n]*'$/);
  }
});

describe('a file at the other end', () => {
  test('has its name when the token is behind it, and is what was sent', () => {
    const { status, stdout } = write(image, token);
    expect([status, stdout.toString()]).toEqual([0, `${readyLine(token)}\n${doneLine(token)}\n`]);
    expect(readFileSync(path).equals(image)).toBe(true);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test('is given back behind a line', () => {
    const { status, stdout } = shell(READ_SCRIPT, `${path}\n${token}\n`);
    expect(status).toBe(0);
    expect(stdout.equals(Buffer.concat([Buffer.from(`${readyLine(token)}\n`), image]))).toBe(true);
  });

  test('stays as it was when the input ends without the token, or with a part of it', () => {
    for (const end of ['', token.slice(1), `${token}x`]) {
      expect(write('another image', end).status).toBe(SCRIPT_EXIT.notWhole);
      expect(readFileSync(path).equals(image)).toBe(true);
      expect(readdirSync(folder)).toHaveLength(1);
    }
  });

  test('is refused where it cannot be', () => {
    writeFileSync(join(folder, 'file'), '');
    const statuses = [`${folder}/none/x`, folder, '/dev/null', `${folder}/file/x`].map(
      (one) => shell(WRITE_SCRIPT, `${one}\n${token}\n`, image, token).status,
    );
    const { noFolder, notAFile, missing, noInput } = SCRIPT_EXIT;
    expect(statuses).toEqual([noFolder, notAFile, notAFile, noFolder]);
    expect(shell(READ_SCRIPT, `${folder}/none\n${token}\n`).status).toBe(missing);
    expect(shell(READ_SCRIPT, `${folder}\n${token}\n`).status).toBe(notAFile);
    expect(shell(READ_SCRIPT, 'half a li').status).toBe(noInput);
  });
});

test('what ssh says becomes a sentence with a code', () => {
  const address = parseAddress('ssh://host/path');
  if (address.kind !== 'ssh') throw new Error('it is an address of a host');
  const of = (status: number | undefined, said: string, isReady = false): string[] => {
    const { code, message } = sshError({ status, said }, address, isReady);
    return [code, message];
  };
  const timeout = 'ssh: connect to host host port 22: Connection timed out\r\n';
  expect(of(255, timeout)).toEqual([
    'remote-unreachable',
    'host cannot be reached for ssh://host/path: ssh: connect to host host port 22: Connection timed out.',
  ]);
  expect(of(255, 'Host key verification failed.\r\n')[0]).toBe('remote-denied');
  expect(of(255, 'client_loop: send disconnect: Broken pipe\n', true)[0]).toBe('connection-lost');
  expect(of(255, 'Killed by signal 2.\r\n', true)[0]).toBe('interrupted');
  expect(of(undefined, 'ENOENT')[0]).toBe('remote-unreachable');
  expect(of(SCRIPT_EXIT.cannotWrite, 'cat: write error: No space left on device')).toEqual([
    'cannot-write',
    '/path cannot be written on host: cat: write error: No space left on device.',
  ]);
  expect(of(127, 'sh: not found')[0]).toBe('remote-failed');
});
