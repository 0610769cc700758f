import { expect, test } from 'vitest';
import { storeError } from '../../../src/remote/s3-errors.ts';
import { parseAddress } from '../../../src/support/address.ts';
import { QuicksaveError } from '../../../src/support/errors.ts';

const address = parseAddress('s3://bucket/key');
if (address.kind !== 's3') throw new Error('it is the address of an object');

const of = (error: unknown, isUnderWay = false): string => storeError(error, address, isUnderWay).code;
const answered = (name: string, httpStatusCode: number): unknown =>
  Object.assign(new Error(name), { name, $metadata: { httpStatusCode } });

test('what a store answers becomes a code', () => {
  expect(of(answered('AccessDenied', 403))).toBe('remote-denied');
  expect(of(answered('InvalidAccessKeyId', 403), true)).toBe('remote-denied');
  expect(of(answered('NoSuchBucket', 404))).toBe('remote-missing');
  expect(of(answered('NoSuchKey', 404))).toBe('remote-missing');
  expect(of(answered('NoSuchUpload', 404), true)).toBe('connection-lost');
  expect(of(answered('PreconditionFailed', 412), true)).toBe('connection-lost');
  expect(of(answered('SlowDown', 503), true)).toBe('remote-failed');
  expect(of(answered('PermanentRedirect', 301))).toBe('remote-failed');
});

test('what the network does becomes a code', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), { code: 'ECONNREFUSED' });
  expect(of(refused)).toBe('remote-unreachable');
  expect(of(refused, true)).toBe('connection-lost');
  expect(storeError(refused, address, false).message).toBe(
    'The store of s3://bucket/key cannot be reached: connect ECONNREFUSED 127.0.0.1:9.',
  );
});

test('no credentials, no region: what to set is said', () => {
  const keyless = Object.assign(new Error('Could not load credentials'), { name: 'CredentialsProviderError' });
  expect(storeError(keyless, address, false)).toMatchObject({
    code: 'remote-denied',
    remedy: expect.stringContaining('AWS_ACCESS_KEY_ID') as string,
  });
  expect(storeError(new Error('Region is missing'), address, false).remedy).toContain('AWS_REGION');
});

test('an error that is a sentence already stays what it is', () => {
  const error = new QuicksaveError('interrupted', 'It was interrupted.');
  expect(storeError(error, address, true)).toBe(error);
});
