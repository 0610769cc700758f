/** Key files: those that we make, those of openssl(1), and what is none. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  newKey,
  opensImages,
  rawPublicKey,
  readKeyring,
  readRecipients,
  readSigner,
  readVerifyKey,
} from '../../../src/image/key-files.ts';
import { errorOf } from './streams.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quicksave-keys-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('a secret encrypts and opens', () => {
  const path = file('secret', newKey('secret').secret);
  const { recipients, keys } = readRecipients([path]);
  expect(recipients).toEqual([{ kind: 'secret', secret: readKeyring([path]).secrets[0] }]);
  expect(keys.secrets[0]).toHaveLength(32);
  expect(opensImages(path)).toBe(true);
});

test('so do 32 bytes as they are', () => {
  const bytes = randomBytes(32);
  expect(readKeyring([file('raw', bytes)]).secrets).toEqual([bytes]);
});

test('a public key encrypts and does not open; its private one does both', () => {
  const { secret, public: pub = '' } = newKey('recipient');
  const paths = [file('key', secret), file('key.pub', pub)] as const;
  const [mine, theirs] = readRecipients(paths).recipients;
  expect(mine?.kind === 'x25519' && theirs?.kind === 'x25519').toBe(true);
  if (mine?.kind !== 'x25519' || theirs?.kind !== 'x25519') return;
  expect(rawPublicKey(mine.publicKey)).toEqual(rawPublicKey(theirs.publicKey));
  expect(readRecipients([paths[1]]).keys).toEqual({ secrets: [], privateKeys: [] });
  expect(readRecipients([paths[0]]).keys.privateKeys).toHaveLength(1);
  expect(opensImages(paths[1])).toBe(false);
  expect(errorOf(() => readKeyring([paths[1]])).message).toMatch(/public key, which opens nothing/);
});

test('a private key signs, and its public one verifies', () => {
  const { secret, public: pub = '' } = newKey('signing');
  const signer = readSigner(file('key', secret));
  expect(Buffer.from(signer.publicKey)).toEqual(rawPublicKey(readVerifyKey(file('key.pub', pub))));
  expect(rawPublicKey(readVerifyKey(join(folder, 'key')))).toEqual(signer.publicKey);
  expect(errorOf(() => readSigner(join(folder, 'key.pub'))).message).toMatch(/no private Ed25519 key/);
});

test.for(['x25519', 'ed25519'])('openssl makes keys of %s that can be used', (algorithm, context) => {
  const path = join(folder, 'key');
  const made = spawnSync('openssl', ['genpkey', '-algorithm', algorithm, '-out', path]);
  if (made.error !== undefined) context.skip('openssl is not installed');
  expect(made.status).toBe(0);
  expect(spawnSync('openssl', ['pkey', '-in', path, '-pubout', '-out', `${path}.pub`]).status).toBe(0);
  if (algorithm === 'x25519') expect(readRecipients([`${path}.pub`]).recipients).toHaveLength(1);
  else expect(rawPublicKey(readVerifyKey(`${path}.pub`))).toEqual(Buffer.from(readSigner(path).publicKey));
});

describe('what is no key is said to be none', () => {
  const signing = newKey('signing').secret;
  test.for([
    ['another text', 'hello', /is no key/],
    ['nothing', '', /is no key/],
    ['a secret that was cut', newKey('secret').secret.slice(0, -9), /is no key/],
    ['a PEM that is damaged', signing.replace(/[A-Za-z0-9]{8}/, '!!'), /cannot be read/],
    ['a key for signatures', signing, /ed25519, which opens nothing/],
  ] as const)('%s', ([, content, message]) => {
    const error = errorOf(() => readKeyring([file('key', content)]));
    expect(error.code).toBe('bad-key');
    expect(error.message).toMatch(message);
  });

  test('a key for signatures encrypts nothing', () => {
    expect(errorOf(() => readRecipients([file('key', signing)])).message).toMatch(/nothing can be encrypted/);
  });

  test('a secret signs and verifies nothing', () => {
    const path = file('key', newKey('secret').secret);
    expect(errorOf(() => readSigner(path)).code).toBe('bad-key');
    expect(errorOf(() => readVerifyKey(path)).code).toBe('bad-key');
  });

  test('a folder, a file that is not there', () => {
    expect(errorOf(() => readKeyring([folder])).message).toMatch(/is a folder/);
    expect(errorOf(() => readKeyring([join(folder, 'none')])).message).toMatch(/does not exist/);
  });
});
