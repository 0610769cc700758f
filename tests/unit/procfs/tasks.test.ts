import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { childrenOf, commOf, listTasks, parseChildren } from '../../../src/procfs/tasks.ts';
import { asPid } from '../../../src/support/brand.ts';

const self = asPid(process.pid);

describe('tasks', () => {
  it('lists the threads of this process', () => {
    const tasks = listTasks(self);
    expect(tasks).toContain(process.pid);
    expect(tasks.length).toBeGreaterThan(1);
  });

  it('lists the children of this process until they are gone', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    expect(childrenOf(self)).toContain(child.pid);
    expect(commOf(asPid(child.pid ?? 0))).toBe('sleep');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(childrenOf(self)).not.toContain(child.pid);
  });

  it('reads lists of children', () => {
    expect(parseChildren('')).toEqual([]);
    expect(parseChildren('4484 4485 ')).toEqual([4484, 4485]);
    expect(() => parseChildren('4484 x ')).toThrow(expect.objectContaining({ code: 'malformed-proc-file' }));
  });

  it.each([listTasks, childrenOf, commOf])('say that there is no such process', (read) => {
    expect(() => read(asPid(4194305))).toThrow('There is no process 4194305.');
  });
});
