/** A tree in a cgroup that is frozen is refused by name at once, and stays as it is: version 2 and the freezer of version 1. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { below, newCgroup, put } from '../support/cgroups.ts';
import { childrenOf, compiled, gone, mustRun, newFolder, quicksave, said, start, waitFor } from '../support/harness.ts';

const PROMPT_MS = 5_000;

const freezers = [
  {
    version: 'version 2',
    controllers: '',
    freeze: (group: string) => writeFileSync(join(group, 'cgroup.freeze'), '1'),
    thaw: (group: string) => writeFileSync(join(group, 'cgroup.freeze'), '0'),
    isFrozen: (group: string) => readFileSync(join(group, 'cgroup.events'), 'latin1').includes('frozen 1'),
    remedy: (group: string) => `echo 0 > ${group}/cgroup.freeze`,
  },
  {
    version: 'version 1',
    controllers: 'freezer',
    freeze: (group: string) => writeFileSync(join(group, 'freezer.state'), 'FROZEN'),
    thaw: (group: string) => writeFileSync(join(group, 'freezer.state'), 'THAWED'),
    isFrozen: (group: string) => readFileSync(join(group, 'freezer.state'), 'latin1').trim() === 'FROZEN',
    remedy: (group: string) => `echo THAWED > ${group}/freezer.state`,
  },
] as const;

test.for(freezers)(
  'a tree that is frozen by a cgroup of $version is refused at once, also by a group above it',
  async (freezer, { skip }) => {
    const group = newCgroup(freezer.controllers);
    if (group === undefined || (freezer.controllers === '' && !existsSync(join(group, 'cgroup.freeze')))) {
      skip(`there is no freezer of ${freezer.version} here`);
      return;
    }
    const inner = below(group, 'inner');
    const folder = newFolder();
    const { pid, output } = start(folder, compiled('in-cgroups'));
    await said(output, 'ready');
    const [child = 0] = childrenOf(pid);
    put(pid, group);
    put(child, inner);
    const image = join(folder, 'image');
    const status = (): string => readFileSync(`/proc/${pid}/status`, 'latin1').replace(/^\w*ctxt_switches.*$/gm, '');
    for (const [frozen, who] of [
      [group, pid],
      [inner, child],
    ] as const) {
      freezer.freeze(frozen);
      await waitFor('all to be frozen', () => freezer.isFrozen(frozen) || undefined);
      const before = status();
      for (const words of [
        ['checkpoint', '-o', image],
        ['checkpoint', '-o', image, '--kill'],
        ['check'],
        ['check', '--stop'],
      ]) {
        const [verb = '', ...options] = words;
        const began = performance.now();
        const refused = await quicksave(verb, String(pid), ...options);
        expect(performance.now() - began).toBeLessThan(PROMPT_MS);
        expect(refused.status).toBe(1);
        const told = refused.stderr + refused.stdout.toString();
        expect(told).toContain(`pid ${who}: It is in a cgroup that is frozen (${frozen})`);
        expect(told).toContain(`Thaw it: ${freezer.remedy(frozen)} [frozen-cgroup]`);
        expect(existsSync(image)).toBe(false);
      }
      if (frozen === group) expect(status()).toBe(before);
      freezer.thaw(frozen);
      await waitFor('all to be thawed', () => !freezer.isFrozen(frozen) || undefined);
    }
    await mustRun('checkpoint', String(pid), '-o', image);
    writeFileSync(join(folder, 'note'), '');
    await said(output, 'noted by the leader');
    process.kill(child, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await gone(pid);
  },
);
