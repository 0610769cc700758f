import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readAuxv } from '../../../src/procfs/auxv.ts';
import { readCommandLine } from '../../../src/procfs/cmdline.ts';
import { listDescriptors } from '../../../src/procfs/descriptors.ts';
import { readExecutable, readWorkingDirectory } from '../../../src/procfs/exe.ts';
import { readMountinfo } from '../../../src/procfs/mountinfo.ts';
import { readSmaps } from '../../../src/procfs/smaps.ts';
import { readStat } from '../../../src/procfs/stat.ts';
import { readStatus } from '../../../src/procfs/status.ts';
import { childrenOf, listTasks } from '../../../src/procfs/tasks.ts';
import { asPid, type Pid } from '../../../src/support/brand.ts';

/** A process that has ended and whose parent does not wait for it. */
describe('a zombie', () => {
  let parent: ChildProcess;
  let zombie: Pid;

  beforeAll(async () => {
    // The shell becomes a program that never waits; its child ends only then, since a shell would reap it.
    const script = '(until [ "$(cat /proc/$$/comm)" = sleep ]; do :; done; exit 3) & echo $!; exec sleep 60';
    parent = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    const [line] = await once(parent.stdout ?? parent, 'data');
    zombie = asPid(Number(String(line).trim()));
    await vi.waitFor(() => expect(readStatus(zombie).state).toBe('Z'), { timeout: 5000 });
  });

  afterAll(() => parent.kill('SIGKILL'));

  it('has a state, a parent and an exit code', () => {
    expect(readStatus(zombie)).toMatchObject({ state: 'Z', ppid: parent.pid, memory: undefined, umask: undefined });
    expect(readStat(zombie)).toMatchObject({ state: 'Z', ppid: parent.pid, exitCode: 3 << 8 });
    expect(listTasks(zombie)).toEqual([zombie]);
    expect(childrenOf(asPid(parent.pid ?? 0))).toEqual([zombie]);
  });

  it('has nothing else', () => {
    expect(readSmaps(zombie)).toEqual([]);
    expect(readAuxv(zombie)).toEqual([]);
    expect(readMountinfo(zombie)).toEqual([]);
    expect(readCommandLine(zombie)).toEqual([]);
    expect(listDescriptors(zombie)).toEqual([]);
    expect(readExecutable(zombie)).toBeUndefined();
    expect(readWorkingDirectory(zombie)).toBeUndefined();
  });
});
