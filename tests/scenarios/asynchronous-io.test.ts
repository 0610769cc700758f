/** A program that nobody here wrote, with requests to the disk in flight whenever it is looked at: what it has written it reads back and checks. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { bringBack, has, isAlive, newFolder, saveAndEnd, start, waitFor } from '../support/harness.ts';

const JOB = ['--name=job', '--ioengine=libaio', '--iodepth=16', '--rw=randrw', '--bs=4k', '--size=32m', '--direct=1'];
const CHECKED = ['--verify=crc32c', '--verify_fatal=1', '--loops=16', '--thread', '--output=report'];

test.skipIf(!has('fio'))(
  'asynchronous I/O to a disk goes on after each of three restarts, and all that it read was right',
  async () => {
    const images = newFolder();
    // Not in memory, where every request is answered at once.
    const folder = mkdtempSync('/var/tmp/quicksave-test-');
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const target = start(folder, 'fio', [...JOB, ...CHECKED]);
    await waitFor(
      'asynchronous I/O',
      () => readFileSync(`/proc/${target.pid}/maps`, 'utf8').includes('/[aio]') || undefined,
    );
    for (let cycle = 0; cycle < 3; cycle++) {
      const image = join(images, `image.${cycle}`);
      await saveAndEnd(target.pid, image);
      expect(await bringBack(image)).toBe(target.pid);
    }
    await waitFor('its end', () => !isAlive(target.pid) || undefined);
    expect(readFileSync(join(folder, 'report'), 'utf8')).toMatch(/^job: \(groupid=0, jobs=1\): err= 0:/m);
  },
);
