/**
 * Key files: secret keys of our own (one line of text, or 32 bytes as they are), and X25519 and Ed25519 keys as PEM, which
 * openssl(1) makes and reads too.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { QuicksaveError } from '../support/errors.ts';

export const SECRET_SIZE = 32;
const SECRET_LABEL = 'quicksave-secret-key-1';
/** Of base64 for 32 bytes. */
const SECRET_LINE = new RegExp(`^${SECRET_LABEL} ([A-Za-z0-9+/]{43}=)\\s*$`);
/** A key is some hundred bytes. */
const MAX_KEY_FILE = 16 * 1024;

/** What opens encrypted images. */
export interface Keyring {
  readonly secrets: readonly Uint8Array[];
  /** X25519. */
  readonly privateKeys: readonly KeyObject[];
}

/** Whom an image is encrypted for: whoever has the secret, or the private key. */
export type Recipient =
  | { readonly kind: 'secret'; readonly secret: Uint8Array }
  | { readonly kind: 'x25519'; readonly publicKey: KeyObject };

export interface Signer {
  /** As {@link rawPublicKey} gives it. */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

export type KeyKind = 'secret' | 'recipient' | 'signing';

/** The text of a new secret, or of a new private key and its public key. */
export function newKey(kind: KeyKind): { readonly secret: string; readonly public?: string } {
  if (kind === 'secret') return { secret: `${SECRET_LABEL} ${randomBytes(SECRET_SIZE).toString('base64')}\n` };
  const { privateKey, publicKey } =
    kind === 'recipient' ? generateKeyPairSync('x25519') : generateKeyPairSync('ed25519');
  return {
    secret: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    public: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
  };
}

export const noKeys: Keyring = { secrets: [], privateKeys: [] };

export function readKeyring(paths: readonly string[]): Keyring {
  return keyringOf(
    paths.map((path) => {
      const key = readKey(path);
      if (key.kind === 'public') throw unusable(path, 'a public key, which opens nothing', 'Give the private one.');
      if (key.kind === 'private' && key.key.asymmetricKeyType !== 'x25519') {
        throw unusable(path, `a key of the kind ${key.key.asymmetricKeyType}, which opens nothing`);
      }
      return key;
    }),
  );
}

/** Of a file that {@link readRecipients} takes: what is encrypted for it can be opened with it. */
export const opensImages = (path: string): boolean => readKey(path).kind !== 'public';

const keyringOf = (keys: readonly FoundKey[]): Keyring => ({
  secrets: keys.flatMap((key) => (key.kind === 'secret' ? [key.secret] : [])),
  privateKeys: keys.flatMap((key) => (key.kind === 'private' ? [key.key] : [])),
});

export const joinedKeys = (a: Keyring, b: Keyring): Keyring => ({
  secrets: [...a.secrets, ...b.secrets],
  privateKeys: [...a.privateKeys, ...b.privateKeys],
});

/** Whom to encrypt for, and what of it opens the images too: secrets and private keys. */
export function readRecipients(paths: readonly string[]): { readonly recipients: Recipient[]; readonly keys: Keyring } {
  const found = paths.map((path) => ({ path, key: readKey(path) }));
  const recipients = found.map(({ path, key }): Recipient => {
    if (key.kind === 'secret') return key;
    if (key.key.asymmetricKeyType === 'x25519') return { kind: 'x25519', publicKey: publicOf(key) };
    throw unusable(path, `a key of the kind ${key.key.asymmetricKeyType}, with which nothing can be encrypted`);
  });
  return { recipients, keys: keyringOf(found.map(({ key }) => key)) };
}

export function readSigner(path: string): Signer {
  const found = readKey(path);
  if (found.kind !== 'private' || found.key.asymmetricKeyType !== 'ed25519') {
    throw unusable(path, 'no private Ed25519 key', 'Make one: quicksave keygen --signing FILE.');
  }
  const { key } = found;
  return { publicKey: rawPublicKey(publicOf(found)), sign: (message) => sign(null, message, key) };
}

/** Of a private key its public one is taken. */
export function readVerifyKey(path: string): KeyObject {
  const found = readKey(path);
  if (found.kind !== 'secret' && found.key.asymmetricKeyType === 'ed25519') return publicOf(found);
  throw unusable(path, 'no Ed25519 key', 'Give the public key of whoever signs the images.');
}

/** The 32 bytes of an X25519 or Ed25519 public key (RFC 7748, RFC 8032). */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const { x = '' } = key.export({ format: 'jwk' });
  return Buffer.from(x, 'base64url');
}

/** The other way round. */
export const publicKeyOf = (raw: Uint8Array, curve: 'X25519' | 'Ed25519'): KeyObject =>
  createPublicKey({ key: { kty: 'OKP', crv: curve, x: Buffer.from(raw).toString('base64url') }, format: 'jwk' });

type FoundKey =
  | { readonly kind: 'secret'; readonly secret: Uint8Array }
  | { readonly kind: 'private' | 'public'; readonly key: KeyObject };

const publicOf = ({ kind, key }: Exclude<FoundKey, { kind: 'secret' }>): KeyObject =>
  kind === 'public' ? key : createPublicKey(key);

function readKey(path: string): FoundKey {
  const bytes = readKeyFile(path);
  if (bytes.length === SECRET_SIZE) return { kind: 'secret', secret: bytes };
  const text = bytes.toString('latin1');
  const [, secret] = SECRET_LINE.exec(text) ?? [];
  if (secret !== undefined) return { kind: 'secret', secret: Buffer.from(secret, 'base64') };
  try {
    if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return { kind: 'private', key: createPrivateKey(bytes) };
    if (text.includes('-----BEGIN PUBLIC KEY-----')) return { kind: 'public', key: createPublicKey(bytes) };
  } catch (cause) {
    throw unusable(path, 'a key that cannot be read: it is damaged, or has a passphrase', undefined, cause);
  }
  throw unusable(path, 'no key', 'Make one: quicksave keygen FILE.');
}

function readKeyFile(path: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY);
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code;
    throw new QuicksaveError('bad-key', `The key file ${path} cannot be opened: ${why}.`, { cause });
  }
  try {
    if (fstatSync(fd).isDirectory()) throw unusable(path, 'a folder');
    const bytes = Buffer.alloc(MAX_KEY_FILE + 1);
    let length = 0;
    // It may be a pipe of a shell: <(pass show quicksave).
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function unusable(path: string, what: string, remedy?: string, cause?: unknown): QuicksaveError {
  const options = { ...(remedy === undefined ? {} : { remedy }), ...(cause === undefined ? {} : { cause }) };
  return new QuicksaveError('bad-key', `The key file ${path} is ${what}.`, options);
}
