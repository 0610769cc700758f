/** System V semaphores and message queues outlive a program: on another host there are none, and on the same one others may have used them. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { chooseNextIpcId, readMessageQueues, readSemaphoreSets } from '../../src/procfs/sysvipc.ts';
import {
  bringBack,
  childrenOf,
  compiled,
  gone,
  mustRun,
  newFolder,
  quicksave,
  said,
  saveAndEnd,
  start,
} from '../support/harness.ts';

interface Ids {
  readonly sets: readonly number[];
  readonly queues: readonly number[];
}

const all = (): Ids => ({
  sets: readSemaphoreSets().map(({ id }) => id),
  queues: readMessageQueues().map(({ id }) => id),
});

function remove({ sets, queues }: Ids): void {
  const now = all();
  for (const id of sets) if (now.sets.includes(id)) execFileSync('ipcrm', ['-s', String(id)]);
  for (const id of queues) if (now.queues.includes(id)) execFileSync('ipcrm', ['-q', String(id)]);
}

/** The program, and the ids of what it has made. */
async function begin(flags: readonly string[] = []) {
  const folder = newFolder();
  const before = all();
  const target = start(folder, compiled('system-v-queues', flags));
  await said(target.output, 'ready');
  const now = all();
  const ids: Ids = {
    sets: now.sets.filter((id) => !before.sets.includes(id)),
    queues: now.queues.filter((id) => !before.queues.includes(id)),
  };
  onTestFinished(() => remove(ids));
  expect([ids.sets.length, ids.queues.length]).toEqual([2, 2]);
  return { ...target, folder, ids, image: join(folder, 'image') };
}

async function proves({ folder, output, pid }: Awaited<ReturnType<typeof begin>>): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
  expect(readFileSync(output, 'utf8')).not.toContain('not ok');
  await gone(pid);
}

test.each([
  ['64', []],
  ['32', ['-m32']],
])(
  'a %s-bit program has them again on a host where they are not, three times',
  async (_, flags) => {
    const target = await begin(flags);
    for (let round = 0; round < 3; round++) {
      await saveAndEnd(target.pid, target.image);
      remove(target.ids);
      await bringBack(target.image);
      expect(all()).toEqual(expect.objectContaining({ sets: expect.arrayContaining([...target.ids.sets]) }));
      expect(all().queues).toEqual(expect.arrayContaining([...target.ids.queues]));
    }
    await proves(target);
  },
  60_000,
);

test('those that are still there, and that nobody else has used, are used again', async () => {
  const target = await begin();
  await saveAndEnd(target.pid, target.image);
  const { stderr } = await mustRun('restart', target.image, '--detach');
  expect(stderr).not.toContain('System V');
  await proves(target);
}, 60_000);

test('what is to be undone to semaphores is so on a host where they are not, three times', async () => {
  const folder = newFolder();
  const before = all();
  const target = start(folder, compiled('semaphore-undo'));
  await said(target.output, 'ready');
  const ids: Ids = { sets: all().sets.filter((id) => !before.sets.includes(id)), queues: [] };
  onTestFinished(() => remove(ids));
  const image = join(folder, 'image');
  for (let round = 0; round < 3; round++) {
    await saveAndEnd(target.pid, image);
    remove(ids);
    await bringBack(image);
  }
  await proves({ ...target, folder, ids, image });
}, 60_000);

test('what others have done with them meanwhile stays, and is told', async () => {
  const target = await begin();
  await saveAndEnd(target.pid, target.image);
  const queue = readMessageQueues().find(({ id, count }) => target.ids.queues.includes(id) && count === 3);
  const set = readSemaphoreSets().find(({ id, key }) => target.ids.sets.includes(id) && key !== 0);
  const change = `
import ctypes
c = ctypes.CDLL(None, use_errno=True)
assert c.semctl(${set?.id}, 2, 16, 5) == 0
about = ctypes.create_string_buffer(104)
assert c.semctl(${set?.id}, 0, 2, about) == 0
about[20:24] = (0o600).to_bytes(4, "little")
assert c.semctl(${set?.id}, 0, 1, about) == 0
assert c.msgsnd(${queue?.id}, ctypes.create_string_buffer(b"\\1" + bytes(7) + b"more"), 4, 0) == 0
`;
  execFileSync('python3', ['-c', change]);
  const { stderr } = await mustRun('restart', target.image, '--detach');
  expect(stderr).toContain(`of the System V semaphore set ${set?.id} 1 are not as they were`);
  expect(stderr).toContain('owner or mode are others');
  expect(stderr.match(/System V/g)).toHaveLength(2);
  expect(stderr).toContain(`the System V message queue ${queue?.id} holds other messages than at the save`);
  for (const pid of childrenOf(target.pid)) process.kill(pid, 'SIGKILL');
  process.kill(target.pid, 'SIGKILL');
  await gone(target.pid);
}, 60_000);

test('others with their ids are in the way, and nothing is made', async () => {
  const target = await begin();
  await saveAndEnd(target.pid, target.image);
  remove(target.ids);
  const [wanted = 0] = target.ids.sets;
  // The same place of the kernel's table, with the next number of its uses.
  chooseNextIpcId('sem', wanted + 0x8000);
  const one = 'import ctypes; print(ctypes.CDLL(None).semget(0, 1, 0o600))';
  const made = [Number(execFileSync('python3', ['-c', one], { encoding: 'utf8' }))];
  onTestFinished(() => remove({ sets: made, queues: [] }));
  const before = all();
  const { status, stderr } = await quicksave('restart', target.image, '--detach');
  expect(status).toBe(1);
  expect(stderr).toMatch(/System V semaphore set \d+: .*table, or its key, is that of \d+/);
  expect(stderr).toContain('[segment-taken]');
  expect(all()).toEqual(before);
}, 60_000);
