import { describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import type { ProcessStatus } from '../../../src/procfs/status.ts';
import { capacityProblems } from '../../../src/resources/ipc/message-queues.ts';
import { systemV } from '../../../src/resources/process/system-v.ts';
import type { HostView } from '../../../src/resources/resource.ts';

const users = { owner: { uid: 0, gid: 0 }, creator: { uid: 0, gid: 0 } };
const object = { id: 1, key: 0, mode: 0o600, ...users };
const set = { ...object, values: [3, 0], own: [0] };
const queue = { ...object, capacity: 16_384, messages: [{ type: 1n, bytes: Buffer.from('x') }] };
const parse = (state: unknown): unknown => parseState(systemV.schema, state, 'it');

describe('System V semaphores and message queues of an image', () => {
  it('may be missing', () => {
    expect(parse(undefined)).toEqual({ semaphores: [], queues: [] });
    expect(parse({ semaphores: [set], queues: [queue] })).toEqual({ semaphores: [set], queues: [queue] });
  });

  it.each([
    ['a value that no semaphore has', { semaphores: [{ ...set, values: [32_768, 0] }], queues: [] }],
    ['no semaphore', { semaphores: [{ ...set, values: [], own: [] }], queues: [] }],
    ['a semaphore that is not there', { semaphores: [{ ...set, own: [2] }], queues: [] }],
    ['an id that no kernel gives', { semaphores: [{ ...set, id: -1 }], queues: [] }],
    [
      'a type that no message has',
      { semaphores: [], queues: [{ ...queue, messages: [{ type: 0n, bytes: Buffer.of(1) }] }] },
    ],
    ['a queue without end', { semaphores: [], queues: [{ ...queue, capacity: 2 ** 40 }] }],
    [
      'a message that is too long',
      { semaphores: [], queues: [{ ...queue, messages: [{ type: 1n, bytes: Buffer.alloc(2 ** 18 + 1) }] }] },
    ],
    ['the user who is none', { semaphores: [{ ...set, creator: { uid: 2 ** 32 - 1, gid: 0 } }], queues: [] }],
  ])('are refused with %s', (_, state) => {
    expect(() => parse(state)).toThrow(/must be|must name|must not/);
  });

  it('need room for a queue, or the right to exceed it', () => {
    const hostWith = (capEffective: bigint): HostView => ({ status: { capEffective } as ProcessStatus }) as HostView;
    const large = { ...queue, capacity: 1 << 26 };
    expect(capacityProblems(large, hostWith(0n))).toMatchObject([{ code: 'queue-capacity' }]);
    expect(capacityProblems(large, hostWith(1n << 24n))).toEqual([]);
    expect(capacityProblems({ ...queue, capacity: 1 }, hostWith(0n))).toEqual([]);
  });
});
