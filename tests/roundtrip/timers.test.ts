/** A timer that may run out at any instant of a save: its signal comes once, now or later, and is never lost. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bringBack, full, newFolder, said, saveAndEnd, start, waitFor } from '../support/harness.ts';

/** Each alarm sets the next: one that is lost ends the chain. */
const chain = `
import os, random, signal
count = os.open('count', os.O_RDWR | os.O_CREAT)
alarms = 0
def on_alarm(*_):
    global alarms
    alarms += 1
    os.pwrite(count, b'%08d' % alarms, 0)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.004, 0.016))
signal.signal(signal.SIGALRM, on_alarm)
on_alarm()
print('ready', flush=True)
while True:
    signal.pause()
`;

test('a chain of alarms goes on through saves and restarts', async () => {
  const folder = newFolder();
  const target = start(folder, 'python3', ['-c', chain]);
  await said(target.output, 'ready');
  const alarms = (): number => Number(readFileSync(join(folder, 'count'), 'latin1'));
  for (let round = 0; round < (full ? 60 : 10); round++) {
    const image = join(folder, `image.${round}`);
    await saveAndEnd(target.pid, image);
    const before = alarms();
    expect(await bringBack(image)).toBe(target.pid);
    await waitFor('the next alarm', () => alarms() > before + 1, 5_000);
  }
}, 300_000);
