/** A program with connections to others, and the tool killed at any moment: connections live on, and nothing of ours is left. */
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clientOf, freePort, locksLeft, Received } from '../support/connections.ts';
import {
  full,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  remember,
  run,
  start,
  waitFor,
} from '../support/harness.ts';

const pauseFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const echo = `
import selectors, socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
waiting = selectors.DefaultSelector()
waiting.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        if key.fileobj is listener:
            waiting.register(listener.accept()[0], selectors.EVENT_READ)
            continue
        data = key.fileobj.recv(65536)
        if data: key.fileobj.sendall(data)
        else:
            waiting.unregister(key.fileobj)
            key.fileobj.close()
`;

interface Echo {
  readonly pid: number;
  readonly folder: string;
  readonly client: Socket;
  readonly received: Received;
}

async function startEcho(): Promise<Echo> {
  const folder = newFolder();
  writeFileSync(join(folder, 'echo.py'), echo);
  const port = await freePort();
  const target = start(folder, 'python3', ['echo.py', String(port)]);
  const client = await clientOf(port);
  return { pid: target.pid, folder, client, received: new Received(client) };
}

let round = 0;
async function expectEcho({ client, received }: Echo): Promise<void> {
  const word = `word ${round++};`;
  client.write(word);
  await waitFor(
    `the echo of ${word}`,
    () => received.text.endsWith(word) || received.error !== undefined || received.ended,
  );
  expect({ error: received.error, ended: received.ended }).toEqual({ error: undefined, ended: false });
}

test('a program goes on with its connections whenever the saving tool is killed', async () => {
  const target = await startEcho();
  const save = ['checkpoint', String(target.pid), '--output', join(target.folder, 'image')];
  const begun = performance.now();
  await mustRun(...save);
  const life = performance.now() - begun;
  const moments = full ? 200 : 12;
  for (let moment = 0; moment < moments; moment++) {
    const tool = run(save);
    await pauseFor((life * (moment + 0.5)) / moments);
    tool.kill('SIGKILL');
    await tool.done;
    await expectEcho(target);
    await waitFor('no lock to be left', () => locksLeft().length === 0);
  }
  target.client.destroy();
}, 120_000);

test('a save with --kill leaves the program with its connections, or an image of both, whenever the tool is killed', async () => {
  const rounds = full ? 60 : 5;
  let ended = 0;
  for (let moment = 0; moment < rounds; moment++) {
    const target = await startEcho();
    const image = join(target.folder, 'image');
    const begun = performance.now();
    await mustRun('checkpoint', String(target.pid), '--output', image);
    const life = performance.now() - begun;
    const tool = run(['checkpoint', String(target.pid), '--output', image, '--kill']);
    // The point of no return is at the end.
    await pauseFor(life * (0.5 + (0.5 * moment) / rounds));
    tool.kill('SIGKILL');
    await tool.done;
    await pauseFor(50);
    if (isAlive(target.pid)) {
      expect(locksLeft()).toEqual([]);
    } else {
      ended++;
      await gone(target.pid);
      expect(locksLeft()).toHaveLength(1);
      const restarted = await quicksave('restart', image, '--detach');
      expect(restarted.status, restarted.stderr).toBe(0);
      remember(target.pid);
    }
    await expectEcho(target);
    expect(locksLeft()).toEqual([]);
    target.client.destroy();
    process.kill(target.pid, 'SIGKILL');
    await gone(target.pid);
  }
  expect(ended).toBeLessThanOrEqual(rounds);
}, 240_000);
