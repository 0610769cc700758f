/** Debug registers: a watchpoint that a debugger has left behind goes off after a restart too. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  has,
  mustRun,
  newFolder,
  said,
  saveAndEnd,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

const TRAP_HWBKPT = 4;

/** dr0, dr6 and dr7 of a thread. */
const debugRegisters = (tid: string): number[] =>
  execFileSync(compiled('debugger'), [tid], { encoding: 'utf8' })
    .trim()
    .split(' ')
    .map((value) => Number.parseInt(value, 16));

/**
 * gdb takes its watchpoints out when it detaches; killed while the program runs, it cannot, and the kernel leaves them in the
 * debug registers. gdb sets those just before it lets a thread go on.
 */
async function watchAndDie(folder: string, pid: number, tid: string, address: string): Promise<void> {
  const commands = ['set confirm off', `watch *(int *) ${address}`, 'continue'].flatMap((text) => ['-ex', text]);
  const said = openSync(join(folder, 'gdb'), 'w');
  const gdb = spawn('gdb', ['-nx', '-q', '-batch', '-p', String(pid), ...commands], { stdio: ['ignore', said, said] });
  closeSync(said);
  const ended = new Promise((resolve) => gdb.once('exit', resolve));
  try {
    await waitFor('gdb to let the program go on', () => {
      // From its attach to `continue` all threads stand still.
      const isSet = readFileSync(join(folder, 'gdb'), 'utf8').includes('Hardware watchpoint 1:');
      return isSet && [Number(tid), pid].every((id) => stateOf(id) !== 't');
    });
  } finally {
    gdb.kill('SIGKILL');
    await ended;
  }
}

describe.each([
  { what: 'a 64-bit program', flags: [] },
  { what: 'a 32-bit program', flags: ['-m32'] },
])('a watchpoint in $what', ({ flags }) => {
  test('fires after three restarts, once, and dr6 says which it was', async () => {
    const folder = newFolder();
    const target = start(folder, compiled('watched', flags));
    await said(target.output, 'ready');
    const [, tid = '', address = ''] = /thread (\d+) watches (\S+)/.exec(readFileSync(target.output, 'utf8')) ?? [];
    execFileSync(compiled('debugger'), [tid, address]);
    const image = join(folder, 'image');
    await mustRun('checkpoint', String(target.pid), '--output', image);
    for (let cycle = 0; cycle < 3; cycle++) {
      await saveAndEnd(target.pid, image);
      await bringBack(image);
    }
    expect(debugRegisters(tid)).toEqual([Number.parseInt(address, 16), 0xffff_0ff0, 0xd0001]);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'traps');
    expect(readFileSync(target.output, 'utf8')).toContain(`traps 1, code ${TRAP_HWBKPT}\n`);
    const [, dr6 = 0] = debugRegisters(tid);
    expect(dr6 & 0xf).toBe(1);
    writeFileSync(join(folder, 'end'), '');
    await said(target.output, 'ok');
  });

  test('that gdb has left behind fires after three restarts', async ({ skip }) => {
    if (!has('gdb')) skip('gdb is not installed');
    const folder = newFolder();
    const target = start(folder, compiled('watched', flags));
    await said(target.output, 'ready');
    const [, tid = '', address = ''] = /thread (\d+) watches (\S+)/.exec(readFileSync(target.output, 'utf8')) ?? [];
    await watchAndDie(folder, target.pid, tid, address);
    const set = debugRegisters(tid);
    expect(set[0]).toBe(Number.parseInt(address, 16));
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < 3; cycle++) {
      await saveAndEnd(target.pid, image);
      await bringBack(image);
      expect(debugRegisters(tid)).toEqual(set);
    }
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'traps');
    expect(readFileSync(target.output, 'utf8')).toContain(`traps 1, code ${TRAP_HWBKPT}\n`);
    writeFileSync(join(folder, 'end'), '');
    await said(target.output, 'ok');
  });

  test('that is not there does not fire', async () => {
    const folder = newFolder();
    const target = start(folder, compiled('watched', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    writeFileSync(join(folder, 'end'), '');
    await said(target.output, 'ok');
    expect(readFileSync(target.output, 'utf8')).toContain('traps 0, code 0\n');
  });
});
