/** Connections that wait to be accepted: what an image may say of them, and what a restart needs. */
import * as v from 'valibot';
import { expect, it } from 'vitest';
import { readStatus } from '../../../src/procfs/status.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { pendingSchema, remarkOnPending, type SavedPending } from '../../../src/resources/sockets/unix-pending.ts';
import { planPending } from '../../../src/resources/sockets/unix-pending-restore.ts';
import { asPid } from '../../../src/support/brand.ts';

const one = (client: SavedPending[number]['client'], uid?: number): SavedPending[number] => ({
  client,
  socket: client === 'here' ? 7 : 0,
  credentials: uid === undefined ? [] : [{ pid: 5, uid, gid: uid }],
  queue: [],
});

const hostOf = (uid: number, capEffective: bigint): HostView => {
  const status = readStatus(asPid(process.pid));
  const ids = { real: uid, effective: uid, saved: uid, filesystem: uid };
  return { status: { ...status, uid: ids, gid: ids, capEffective } } as HostView;
};

it('an image may have a message without a sender and nothing that is unknown', () => {
  const queue = [{ bytes: Buffer.from('x'), sender: Buffer.alloc(0), credentials: [], descriptors: [3] }];
  expect(v.is(pendingSchema, [{ ...one('here'), queue }, one('closed', 1)])).toBe(true);
  expect(v.is(pendingSchema, [{ ...one('here'), client: 'elsewhere' }])).toBe(false);
  expect(v.is(pendingSchema, [{ ...one('here'), extra: 1 }])).toBe(false);
});

it('who had connected as another user is made only by who may be another user', () => {
  const pending = [one('here'), one('closed', 42)];
  expect(planPending(pending, hostOf(0, (1n << 41n) - 1n), [])).toEqual([]);
  expect(planPending(pending, hostOf(42, 0n), [])).toEqual([]);
  expect(planPending(pending, hostOf(1000, 0n), ['pid 5'])).toMatchObject([
    { code: 'other-credentials', path: ['pid 5'], message: expect.stringContaining('uid 42, gid 42') },
  ]);
});

it('connections of others are told, with how many they are', () => {
  expect(remarkOnPending([one('here'), one('closed', 1)])).toBeUndefined();
  expect(remarkOnPending([one('outside', 1)])).toMatch(/^a connection of others that waits to be accepted/);
  expect(remarkOnPending([one('outside', 1), one('outside', 1)])).toMatch(/^2 connections of others that wait to be/);
});
