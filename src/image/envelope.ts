/**
 * The beginning of an encrypted image: for whom it is, and in it, encrypted for each of them, the secret from which the key of
 * what follows is made. docs/image-format.md has every byte.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { viewOf } from './frame.ts';
import { damagedImage } from './image-errors.ts';
import { type Keyring, publicKeyOf, type Recipient, rawPublicKey, SECRET_SIZE } from './key-files.ts';

/** 9e 51 53 53 45 0d 0a 1a in the stream. */
const ENVELOPE_MAGIC = 0x1a0a_0d45_5353_519en;
const ENVELOPE_VERSION = 1;
/** Up to the length of the envelope: what has to be read to know how much is to be read. */
export const ENVELOPE_START_SIZE = 16;
const SALT_OFFSET = 16;
const SALT_SIZE = 32;
const COUNT_OFFSET = 48;
const STANZAS_OFFSET = 56;
const STANZA_SIZE = 88;
const EPHEMERAL_OFFSET = 8;
const WRAPPED_OFFSET = 40;
const TAG_SIZE = 16;
const KEY_SIZE = 32;
const NONCE_OF_WRAPPING = Buffer.alloc(12);
export const MAX_RECIPIENTS = 64;
const KIND = { secret: 1, x25519: 2 } as const;

export interface Envelope {
  readonly bytes: Uint8Array;
  /** Of the segments, AES-256. */
  readonly key: Uint8Array;
}

export function newEnvelope(recipients: readonly Recipient[]): Envelope {
  const secret = randomBytes(SECRET_SIZE);
  const bytes = Buffer.alloc(STANZAS_OFFSET + recipients.length * STANZA_SIZE);
  bytes.writeBigUInt64LE(ENVELOPE_MAGIC, 0);
  bytes.writeUInt32LE(ENVELOPE_VERSION, 8);
  bytes.writeUInt32LE(bytes.length, 12);
  const salt = randomBytes(SALT_SIZE);
  bytes.set(salt, SALT_OFFSET);
  bytes.writeUInt32LE(recipients.length, COUNT_OFFSET);
  recipients.forEach((recipient, index) => {
    bytes.set(stanzaFor(recipient, secret, { salt, index }), STANZAS_OFFSET + index * STANZA_SIZE);
  });
  return { bytes, key: segmentKey(secret, bytes) };
}

export const isEnvelope = (start: Uint8Array): boolean =>
  start.length >= 8 && viewOf(start).getBigUint64(0, true) === ENVELOPE_MAGIC;

/** Bytes of the whole envelope, from its first 16. Throws ImageError for one that no writer makes. */
export function envelopeSize(start: Uint8Array): number {
  const view = viewOf(start);
  const version = view.getUint32(8, true);
  if (version !== ENVELOPE_VERSION) throw damagedImage(`its encryption has the unknown version ${version}`, 8);
  const size = view.getUint32(12, true);
  const count = (size - STANZAS_OFFSET) / STANZA_SIZE;
  if (!Number.isInteger(count) || count < 1 || count > MAX_RECIPIENTS) {
    throw damagedImage(`its envelope of ${size} bytes cannot be one`, 12);
  }
  return size;
}

/** The key of the segments; undefined if none of the keys is one that the image is for. */
export function openEnvelope(bytes: Uint8Array, keys: Keyring): Uint8Array | undefined {
  const view = viewOf(bytes);
  const count = (bytes.length - STANZAS_OFFSET) / STANZA_SIZE;
  if (view.getUint32(COUNT_OFFSET, true) !== count || view.getUint32(COUNT_OFFSET + 4, true) !== 0) {
    throw damagedImage('its envelope contradicts itself', COUNT_OFFSET);
  }
  const salt = saltOf(bytes);
  for (let index = 0; index < count; index++) {
    const at = STANZAS_OFFSET + index * STANZA_SIZE;
    const stanza = bytes.subarray(at, at + STANZA_SIZE);
    for (const wrapping of wrappingsOf(stanza, { keys, salt, index })) {
      const secret = tryUnwrap(wrapping, stanza.subarray(WRAPPED_OFFSET));
      if (secret !== undefined) return segmentKey(secret, bytes);
    }
  }
  return undefined;
}

const saltOf = (bytes: Uint8Array): Uint8Array => bytes.subarray(SALT_OFFSET, SALT_OFFSET + SALT_SIZE);

interface Place {
  readonly salt: Uint8Array;
  /** Of the stanza. */
  readonly index: number;
}

function stanzaFor(recipient: Recipient, secret: Uint8Array, place: Place): Uint8Array {
  const stanza = Buffer.alloc(STANZA_SIZE);
  stanza.writeUInt32LE(KIND[recipient.kind], 0);
  if (recipient.kind === 'secret') {
    stanza.set(wrap(secretWrapping(recipient.secret, place), secret), WRAPPED_OFFSET);
    return stanza;
  }
  const { publicKey: theirs } = recipient;
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const ephemeral = rawPublicKey(publicKey);
  const shared = diffieHellman({ privateKey, publicKey: theirs });
  stanza.set(ephemeral, EPHEMERAL_OFFSET);
  stanza.set(wrap(sharedWrapping({ shared, ephemeral, theirs }, place), secret), WRAPPED_OFFSET);
  return stanza;
}

/** Keys that may have encrypted the secret in this stanza. */
function wrappingsOf(stanza: Uint8Array, { keys, ...place }: Place & { readonly keys: Keyring }): Uint8Array[] {
  const kind = viewOf(stanza).getUint32(0, true);
  if (kind === KIND.secret) return keys.secrets.map((secret) => secretWrapping(secret, place));
  if (kind !== KIND.x25519) return [];
  const ephemeral = stanza.subarray(EPHEMERAL_OFFSET, WRAPPED_OFFSET);
  return keys.privateKeys.flatMap((privateKey) => {
    const shared = tryDiffieHellman(privateKey, ephemeral);
    return shared === undefined
      ? []
      : [sharedWrapping({ shared, ephemeral, theirs: createPublicKey(privateKey) }, place)];
  });
}

/** Undefined for one of the few points that give no secret (RFC 7748, section 6.1). */
function tryDiffieHellman(privateKey: KeyObject, raw: Uint8Array): Uint8Array | undefined {
  try {
    return diffieHellman({ privateKey, publicKey: publicKeyOf(raw, 'X25519') });
  } catch {
    return undefined;
  }
}

/** The salt is the image's own: a wrapping key encrypts one thing, and may do so with the nonce 0. */
const secretWrapping = (secret: Uint8Array, { salt, index }: Place): Uint8Array =>
  derive(secret, salt, `quicksave 1 secret ${index}`);

interface Exchange {
  readonly shared: Uint8Array;
  readonly ephemeral: Uint8Array;
  readonly theirs: KeyObject;
}

const sharedWrapping = ({ shared, ephemeral, theirs }: Exchange, { salt, index }: Place): Uint8Array =>
  derive(shared, Buffer.concat([salt, ephemeral, rawPublicKey(theirs)]), `quicksave 1 x25519 ${index}`);

/** All of the envelope is in it: with one changed byte the key is another, and the first segment does not open. */
const segmentKey = (secret: Uint8Array, envelope: Uint8Array): Uint8Array =>
  derive(secret, createHash('sha256').update(envelope).digest(), 'quicksave 1 segments');

const derive = (key: Uint8Array, salt: Uint8Array, info: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', key, salt, info, KEY_SIZE));

function wrap(key: Uint8Array, secret: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, NONCE_OF_WRAPPING);
  return Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

function tryUnwrap(key: Uint8Array, wrapped: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, NONCE_OF_WRAPPING, { authTagLength: TAG_SIZE });
  decipher.setAuthTag(wrapped.subarray(SECRET_SIZE));
  try {
    return Buffer.concat([decipher.update(wrapped.subarray(0, SECRET_SIZE)), decipher.final()]);
  } catch {
    return undefined;
  }
}
