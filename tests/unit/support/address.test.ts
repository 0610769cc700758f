import { expect, test } from 'vitest';
import { isAddress, parseAddress } from '../../../src/support/address.ts';

const wrong = (text: string): string => {
  try {
    return JSON.stringify(parseAddress(text));
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test('names with one of the schemes are addresses, others are files', () => {
  for (const name of ['s3://b/k', 'ssh://h/p', 's3://', 'ssh://']) expect(isAddress(name)).toBe(true);
  for (const name of ['', '-', 'job.qs', './s3://b/k', '/s3://b/k', 's3:/b/k', 'S3://b/k', 'https://h/p']) {
    expect(isAddress(name)).toBe(false);
  }
});

test('the key of an object is taken as it is', () => {
  const key = 'a/b c/%25?x=1#&\n"\'.qs';
  expect(parseAddress(`s3://my.bucket-1/${key}`)).toMatchObject({ kind: 's3', bucket: 'my.bucket-1', key });
  expect(parseAddress('s3://bucket//k')).toMatchObject({ key: '/k' });
});

test('what is no name of an object is refused', () => {
  for (const text of ['s3://', 's3://bucket', 's3://bucket/', 's3://bucket/folder/', 's3:///key', 's3://-b-/key']) {
    expect(wrong(text)).toBe('bad-address');
  }
  expect(wrong(`s3://bucket/${'k'.repeat(1024)}`)).not.toBe('bad-address');
  expect(wrong(`s3://bucket/${'é'.repeat(513)}`)).toBe('bad-address');
});

test('a path on a host is decoded, absolute or in the home folder', () => {
  expect(parseAddress('ssh://host/a%20b/%25%27.qs')).toMatchObject({ host: 'host', path: "/a b/%'.qs" });
  expect(parseAddress('ssh://me@host.example:2222/x')).toMatchObject({ user: 'me', port: 2222, path: '/x' });
  expect(parseAddress('ssh://host/~/saves/x')).toMatchObject({ path: './saves/x' });
  expect(parseAddress('ssh://[fe80::1]:22/x')).toMatchObject({ host: 'fe80::1', port: 22 });
  expect(parseAddress('ssh://host/-x')).toMatchObject({ user: undefined, port: undefined, path: '/-x' });
});

test('nothing in a host or user can be taken for an option, and no path can be two lines', () => {
  const texts = [
    '-oProxyCommand=x/p',
    '-l@host/p',
    'me@-host/p',
    'a b/p',
    'h:0/p',
    'h:65536/p',
    'h:x/p',
    '/p',
    'h',
    'h/',
  ];
  for (const text of [...texts, 'h/a%0ab', 'h/a%0d', 'h/a%00', 'h/a\nb', 'h/%zz', 'h/%ff', 'h/folder/']) {
    expect([text, wrong(`ssh://${text}`)]).toEqual([text, 'bad-address']);
  }
});
