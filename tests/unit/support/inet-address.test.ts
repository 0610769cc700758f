import { expect, test } from 'vitest';
import { endText } from '../../../src/support/inet-address.ts';

/** A sockaddr_in6: family, port, flow, address, scope. */
const inet6 = (address: string): Buffer => Buffer.from(`0a000050${'0'.repeat(8)}${address}${'0'.repeat(8)}`, 'hex');

test('an address of the internet is shown with its port', () => {
  expect(endText(Buffer.from('0200b2677f0000010000000000000000', 'hex'))).toBe('127.0.0.1:45671');
  expect(endText(inet6(`${'0'.repeat(31)}1`))).toBe('[::1]:80');
  expect(endText(inet6(`20010db8${'0'.repeat(23)}1`))).toBe('[2001:db8::1]:80');
  expect(endText(inet6('20010db8000100000002000000030004'))).toMatch(/^\[2001:db8:1:0:2:0:3:4\]:80$/);
  expect(endText(Buffer.alloc(0))).toBe('nowhere');
});
