/** What a client has sent to a listener that has not accepted it: what has arrived there, and what is still with the client. */
import { expect, it } from 'vitest';
import { joined } from '../../../src/resources/sockets/tcp-pending.ts';

const text = (bytes: string): Buffer => Buffer.from(bytes);

it('what has arrived and is not acknowledged yet is there once', () => {
  expect(joined({ sendSequence: 110, sendQueue: text('defghij') }, { bytes: text('abcdef'), next: 106 })).toEqual(
    text('abcdefghij'),
  );
  expect(joined({ sendSequence: 106, sendQueue: text('') }, { bytes: text('abcdef'), next: 106 })).toEqual(
    text('abcdef'),
  );
});

it('the numbers of bytes go round', () => {
  const next = 2 ** 32 - 1;
  expect(joined({ sendSequence: 2, sendQueue: text('cde') }, { bytes: text('ab'), next })).toEqual(text('abcde'));
  expect(joined({ sendSequence: 1, sendQueue: text('bcdef') }, { bytes: text('abcd'), next: next })).toEqual(
    text('abcdef'),
  );
});

it('what does not fit together is nothing', () => {
  expect(joined({ sendSequence: 110, sendQueue: text('hij') }, { bytes: text('abcdef'), next: 106 })).toBeUndefined();
  expect(joined({ sendSequence: 105, sendQueue: text('e') }, { bytes: text('abcdef'), next: 106 })).toBeUndefined();
});
