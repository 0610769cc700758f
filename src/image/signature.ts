/**
 * SIGNATURE, the record before TAIL of an image that was signed: Ed25519 (RFC 8032) over SHA-256 digests of all records before
 * it. The checksums of the others find accidents; this finds purpose.
 */
import { createHash, type KeyObject, verify } from 'node:crypto';
import { QuicksaveError } from '../support/errors.ts';
import { RECORD_HEADER_SIZE, viewOf } from './frame.ts';
import { misuse } from './image-errors.ts';
import { rawPublicKey, type Signer } from './key-files.ts';
import { storedDataIn } from './page-chunk.ts';

const VERSION = 1;
const KEY_OFFSET = 8;
const SIGNATURE_OFFSET = 40;
const SIGNATURE_SIZE = 104;
export const DIGEST_SIZE = 32;
/** Signatures of the same key over something else are not ours. */
const PURPOSE = Buffer.from('quicksave image signature 1\n');

export interface Signature {
  /** Of whoever has signed, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly bytes: Uint8Array;
}

export function digestOf(parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** Of a whole record: one digest, or of a page chunk two, of what is before its data and of its data. Its padding is zero, and in none. */
export function digestsOfRecord(record: Uint8Array): Uint8Array[] {
  const data = storedDataIn(record);
  if (data !== undefined) {
    return [digestOf([record.subarray(0, data.start)]), digestOf([record.subarray(data.start, data.end)])];
  }
  const length = Number(viewOf(record).getBigUint64(8, true));
  return [digestOf([record.subarray(0, RECORD_HEADER_SIZE + length)])];
}

/** The payload of SIGNATURE. `digests`: of all records, in the order of the stream. */
export function encodeSignature(signer: Signer, digests: readonly Uint8Array[]): Uint8Array {
  const payload = new Uint8Array(SIGNATURE_SIZE);
  viewOf(payload).setUint32(0, VERSION, true);
  payload.set(signer.publicKey, KEY_OFFSET);
  payload.set(signer.sign(messageOf(digests)), SIGNATURE_OFFSET);
  return payload;
}

/** Undefined for what is not a SIGNATURE. */
export function decodeSignature(payload: Uint8Array): Signature | undefined {
  if (payload.length !== SIGNATURE_SIZE) return undefined;
  const view = viewOf(payload);
  if (view.getUint32(0, true) !== VERSION || view.getUint32(4, true) !== 0) return undefined;
  return { publicKey: payload.slice(KEY_OFFSET, SIGNATURE_OFFSET), bytes: payload.slice(SIGNATURE_OFFSET) };
}

const messageOf = (digests: readonly Uint8Array[]): Uint8Array => Buffer.concat([PURPOSE, digestOf(digests)]);

/** Throws QuicksaveError if the image is not signed, or not by that key. */
export function requireSigner(signature: Signature | undefined, key: KeyObject): Signature {
  if (signature === undefined) {
    throw new QuicksaveError('not-signed', 'The image is not signed.', { remedy: OTHER_COPY });
  }
  if (Buffer.from(rawPublicKey(key)).equals(signature.publicKey)) return signature;
  throw new QuicksaveError(
    'wrong-signer',
    `The image is signed with another key: ${keyName(signature.publicKey)}, not ${keyName(rawPublicKey(key))}.`,
    { remedy: OTHER_COPY },
  );
}

/** Throws QuicksaveError if what was signed is not what these digests are of. */
export function requireSignature(
  signature: Signature | undefined,
  key: KeyObject,
  digests: readonly (Uint8Array | undefined)[],
): void {
  const { bytes } = requireSigner(signature, key);
  const all = digests.map((digest) => {
    if (digest === undefined) throw misuse('a signature was checked before all of the image was read');
    return digest;
  });
  if (verify(null, messageOf(all), key, bytes)) return;
  throw new QuicksaveError('bad-signature', 'The image is not the one that was signed: it has been changed.', {
    remedy: OTHER_COPY,
  });
}

const OTHER_COPY = "Use an image that the owner of the key has signed; without --verify-key anybody's is taken.";

/** How a public key is named to people: the first half of its SHA-256. */
export const keyName = (publicKey: Uint8Array): string =>
  Buffer.from(digestOf([publicKey]))
    .toString('hex')
    .slice(0, 32);
