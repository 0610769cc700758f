import { describe, expect, it } from 'vitest';
import { objectsOf } from '../../../src/report/descriptor-links.ts';
import type { ProcessInspection } from '../../../src/report/inspect.ts';
import type { DescriptorInspection } from '../../../src/report/inspect-descriptor.ts';
import { type Json, toJson } from '../../../src/report/json.ts';
import { socketWords } from '../../../src/report/socket-text.ts';

const end = (port: number): Buffer => {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(2, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set([127, 0, 0, 1], 4);
  return bytes;
};
const tcp = (role: string, local: number, remote?: number): Json =>
  toJson({ role, local: end(local), remote: remote === undefined ? Buffer.alloc(0) : end(remote), waiting: 0 });

function processWith(...states: readonly (readonly [kind: string, state: Json])[]): ProcessInspection {
  const descriptors = states.map(
    ([kind, state], index): DescriptorInspection => ({
      fd: index + 3,
      object: index + 1,
      closeOnExec: false,
      kind,
      contentBytes: 0,
      state,
    }),
  );
  return { descriptors } as unknown as ProcessInspection;
}

const linksOf = (...states: readonly (readonly [kind: string, state: Json])[]): unknown[] =>
  objectsOf([processWith(...states)]).map(({ ends, outside }) => (outside === undefined ? ends : [outside, ...ends]));

describe('the other ends of what is open', () => {
  it('are those of the same pipe, connection, pair and terminal', () => {
    expect(linksOf(['pipe', { pipe: 7 }], ['pipe', { pipe: 8 }], ['pipe', { pipe: 7 }])).toEqual([[3], [], [1]]);
    expect(linksOf(['tcp-socket', tcp('connected', 1, 2)], ['tcp-socket', tcp('connected', 2, 1)])).toEqual([[2], [1]]);
    const pair: Json[] = [
      { socket: 11, peer: 12, role: 'pair' },
      { socket: 12, peer: 11, role: 'pair' },
      { socket: 13, peer: 0, role: 'alone' },
    ];
    expect(linksOf(...pair.map((state) => ['unix-socket', state] as const))).toEqual([[2], [1], []]);
    expect(linksOf(['pty-master', { index: 4 }], ['pty-slave', { index: 4 }], ['pty-slave', { index: 5 }])).toEqual([
      [2],
      [1],
      [],
    ]);
  });

  it('are what an epoll watches, by the numbers of its process', () => {
    const epoll = { entries: [{ watches: 4 }, { watches: 99 }] };
    expect(linksOf(['epoll', epoll], ['eventfd', {}])).toEqual([[2], []]);
  });

  it('are outside where nobody of the tree has them', () => {
    expect(linksOf(['tcp-socket', tcp('connected', 1, 80)])).toEqual([['127.0.0.1:80']]);
    expect(linksOf(['tcp-socket', tcp('finished', 1, 80)])).toEqual([[]]);
    expect(linksOf(['tcp-socket', tcp('listening', 80)])).toEqual([[]]);
    expect(linksOf(['udp-socket', toJson({ local: end(5), remote: end(53) })])).toEqual([['127.0.0.1:53']]);
    const other = toJson({ name: Buffer.from('/run/other') });
    expect(linksOf(['unix-socket', { role: 'outside', peer: 3, socket: 4, other }])).toEqual([['/run/other']]);
    expect(linksOf(['pipe', { pipe: 7, cutOff: true }])).toEqual([['a process outside']]);
  });

  it('are none of a state that is not known here', () => {
    expect(linksOf(['unix-socket', null], ['epoll', 'x'], ['from-the-future', { peer: 1 }])).toEqual([[], [], []]);
  });
});

describe('a socket in words', () => {
  it.each([
    ['tcp-socket', tcp('connected', 5, 80), 'connected 127.0.0.1:5 to 127.0.0.1:80'],
    [
      'tcp-socket',
      toJson({ role: 'listening', local: end(80), waiting: 2 }),
      'listening at 127.0.0.1:80, 2 connections to accept',
    ],
    ['udp-socket', toJson({ local: end(53), queue: [{}], waiting: 0 }), 'at 127.0.0.1:53, 1 message to receive'],
    ['unix-socket', toJson({ type: 2, role: 'alone', own: { name: Buffer.from('\0bus') } }), 'datagrams alone at @bus'],
    [
      'tcp-socket',
      toJson({ role: 'finished', local: end(1), remote: end(2), unread: Buffer.alloc(1) }),
      'finished 127.0.0.1:1 to 127.0.0.1:2, 1 byte to receive',
    ],
  ] as const)('of kind %s', (kind, state, words) => {
    expect(socketWords(kind, state)).toBe(words);
  });

  it('is not made of what is none, or of a form from elsewhere', () => {
    expect(socketWords('pipe', { role: 'x' })).toBeUndefined();
    expect(socketWords('unix-socket', { name: 'x' })).toBeUndefined();
  });
});
