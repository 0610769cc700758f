import { describe, expect, it } from 'vitest';
import { remedyForFailedCall } from '../../../src/support/lacking.ts';

describe('remedyForFailedCall', () => {
  it.each([
    ['openat', 'EMFILE', false, /ulimit -n/],
    ['openat', 'ENFILE', false, /fs\.file-max/],
    ['mmap', 'ENOMEM', false, /memory\.max/],
    ['clone3', 'EAGAIN', true, /pids\.max/],
    ['pwritev', 'EDQUOT', false, /quota/],
  ])('of %s with %s says what to raise', (call, errno, inside, remedy) => {
    expect(remedyForFailedCall(call, errno, inside)).toMatch(remedy);
  });

  it.each([
    ['openat', 'EACCES', false],
    // What the process lacks itself.
    ['mmap', 'ENOMEM', true],
    ['recvmsg', 'EAGAIN', false],
    // Of the number of watches.
    ['inotify_add_watch', 'ENOSPC', false],
  ])('of %s with %s (inside: %s) says nothing', (call, errno, inside) => {
    expect(remedyForFailedCall(call, errno, inside)).toBeUndefined();
  });
});
