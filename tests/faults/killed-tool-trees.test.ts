/** The tool is killed while it works on a tree: all of the tree goes on, or nothing of it is left. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bringBack,
  compiled,
  footprint,
  full,
  isAlive,
  mustRun,
  newFolder,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  stateOf,
  waitFor,
} from '../support/harness.ts';

const pauseFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Processes that run this program, or that are half-made. */
function processesOf(program: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        const executable = readlinkSync(`/proc/${pid}/exe`);
        return executable === program || executable.startsWith('/memfd:quicksave');
      } catch {
        return false;
      }
    });
}

const usualMoments = full ? 60 : 12;

test.each([
  ['family-tree', usualMoments],
  ['shared-tables', full ? 60 : 4],
  ['shared-memory-processes', full ? 60 : 4],
])(
  'a tree (%s) goes on unharmed whenever the saving tool is killed',
  async (name, moments) => {
    const folder = newFolder();
    const program = compiled(name);
    const target = start(folder, program);
    await said(target.output, 'ready');
    const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
    await mustRun(...save);
    const begun = performance.now();
    await mustRun(...save);
    const life = performance.now() - begun;
    const members = processesOf(program);
    const before = members.map(footprint);
    let cutShort = 0;
    for (let attempt = 0; cutShort < moments && attempt < 4 * moments; attempt++) {
      const tool = run(save);
      await pauseFor((life * (0.3 + 0.7 * Math.random()) * (attempt % moments)) / moments);
      tool.kill('SIGKILL');
      if ((await tool.done).signal === 'SIGKILL') cutShort++;
      for (const pid of members) expect(isAlive(pid), `${pid} after the kill at moment ${cutShort}`).toBe(true);
    }
    expect(cutShort).toBe(moments);
    // One that is stopped cannot go home by itself: the next save leads it.
    await mustRun(...save);
    const isAsBefore = (): boolean => JSON.stringify(members.map(footprint)) === JSON.stringify(before);
    await waitFor('nothing of ours to be left in it', isAsBefore);
    expect(processesOf(program)).toEqual(members);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
    expect(await target.ended).toEqual({ status: 0, signal: null });
  },
  full ? 900_000 : 300_000,
);

test.each([
  ['family-tree', usualMoments],
  ['shared-memory-processes', full ? 60 : 4],
])(
  'no half-made process of a tree (%s) stays whenever the restarting tool is killed',
  async (name, moments) => {
    const folder = newFolder();
    const program = compiled(name);
    const target = start(folder, program);
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    const begun = performance.now();
    await bringBack(image);
    const life = performance.now() - begun;
    const whole = processesOf(program).length;
    const endAll = async (): Promise<void> => {
      if (isAlive(target.pid)) process.kill(target.pid, 'SIGKILL');
      await waitFor('the end of the tree', () => processesOf(program).length === 0);
    };
    await endAll();
    let none = 0;
    for (let moment = 0; moment < moments; moment++) {
      const tool = run(['restart', image]);
      await pauseFor(life * (0.2 + (0.7 * moment) / moments));
      tool.kill('SIGKILL');
      await tool.done;
      const left = await waitFor('the end of what was half made', () => {
        const found = processesOf(program).length;
        return found === 0 || found === whole ? { found } : undefined;
      });
      if (left.found === 0) none++;
      else remember(target.pid);
      await endAll();
    }
    expect(none).toBeGreaterThan(0);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    await said(target.output, 'ok');
  },
  full ? 600_000 : 300_000,
);

/** Of the process of this name. */
const named = (pids: readonly number[], comm: string): number =>
  pids.find((pid) => readIfThere(`/proc/${pid}/comm`)?.trim() === comm) ?? 0;

test('nothing of ours stays in memory and descriptors that a process shares whose relative with the agent is killed meanwhile', async () => {
  const folder = newFolder();
  const program = compiled('shared-memory-processes');
  const save = (pid: number): string[] => ['checkpoint', String(pid), '--output', join(folder, 'image')];
  // The agent of the second memory is about to make its doorbell, has made it and not told us, has it (and the next that has this memory gets an agent of its
  // own), and is long there. A save that ends the tree rehearses nothing.
  for (const stop of ['stop:2:socketpair', 'stop:2:pidfd_getfd', 'stop:14:pidfd_open', 'stop:3:pidfd_getfd']) {
    const target = start(folder, program);
    await said(target.output, 'ready');
    const members = processesOf(program);
    // The first of those that share the second memory, and a descriptor table, and the other.
    const [host, guest] = [named(members, 'sharer-5'), named(members, 'sharer-6')];
    const mapsOf = (): string => readFileSync(`/proc/${guest}/maps`, 'utf8').replace(/^(\S+ \S+).*/gm, '$1');
    const before = [mapsOf(), readdirSync(`/proc/${guest}/fd`)];
    const tool = run([...save(target.pid), '--kill'], { env: { QUICKSAVE_FAULT: stop } });
    await waitFor('the tool to stand still', () => stateOf(tool.pid) === 'T');
    expect(mapsOf()).not.toBe(before[0]);
    process.kill(host, 'SIGKILL');
    tool.kill('SIGCONT');
    const { status, stderr } = await tool.done;
    expect(status, stop).toBe(1);
    expect(stderr, stop).toMatch(new RegExp(`(process|Process).* ${host}\\b.*(ended|no such process)`));
    expect([mapsOf(), readdirSync(`/proc/${guest}/fd`)], stop).toEqual(before);
    await mustRun(...save(target.pid));
    process.kill(target.pid, 'SIGKILL');
    await waitFor('the end of all', () => processesOf(program).length === 0);
  }
});
