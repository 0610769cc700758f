/** What protects an image that is written, and what one that is read must meet. Key files are named by their paths. */
import type { KeyObject } from 'node:crypto';
import { QuicksaveError } from '../support/errors.ts';
import { MAX_RECIPIENTS } from './envelope.ts';
import {
  joinedKeys,
  type Keyring,
  type Recipient,
  readKeyring,
  readRecipients,
  readSigner,
  readVerifyKey,
  type Signer,
} from './key-files.ts';

/** For an image that is written. */
export interface Protection {
  /** None: it is not encrypted. */
  readonly recipients: readonly Recipient[];
  /** Undefined: it is not signed. */
  readonly signer: Signer | undefined;
}

export const unprotected: Protection = { recipients: [], signer: undefined };

/** For images that are read, and those that they build on. */
export interface ImageAccess {
  /** For those that are encrypted. */
  readonly keys?: Keyring;
  /** Whoever must have signed them; without it that is not looked at. */
  readonly signedBy?: KeyObject | undefined;
  /** Files of other users are refused. */
  readonly ownOnly?: boolean;
}

/** Paths of key files, as a user gives them. */
export interface ProtectionFiles {
  readonly encrypt?: readonly string[] | undefined;
  readonly sign?: string | undefined;
  readonly keys?: readonly string[] | undefined;
}

/** Keys that open what is encrypted for them need not be given twice. */
export function readProtection({ encrypt = [], sign, keys = [] }: ProtectionFiles): {
  readonly protection: Protection;
  readonly access: ImageAccess;
} {
  if (encrypt.length > MAX_RECIPIENTS) {
    throw new QuicksaveError('bad-key', `An image can be encrypted for at most ${MAX_RECIPIENTS} keys.`);
  }
  const whom = readRecipients(encrypt);
  return {
    protection: { recipients: whom.recipients, signer: sign === undefined ? undefined : readSigner(sign) },
    access: { keys: joinedKeys(readKeyring(keys), whom.keys) },
  };
}

export interface AccessFiles {
  readonly keys?: readonly string[] | undefined;
  readonly verifyKey?: string | undefined;
}

export const readAccess = ({ keys = [], verifyKey }: AccessFiles): ImageAccess => ({
  keys: readKeyring(keys),
  ...(verifyKey === undefined ? {} : { signedBy: readVerifyKey(verifyKey) }),
});
