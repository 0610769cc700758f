/** Names of images that are on other hosts: `s3://BUCKET/KEY` and `ssh://[USER@]HOST[:PORT]/PATH`. */
import { QuicksaveError } from './errors.ts';

export interface ObjectAddress {
  readonly kind: 's3';
  readonly bucket: string;
  /** As it is written: nothing in it is decoded. */
  readonly key: string;
  readonly text: string;
}

export interface HostAddress {
  readonly kind: 'ssh';
  readonly user: string | undefined;
  readonly host: string;
  readonly port: number | undefined;
  /** Absolute, or `./…` in the home folder of the user there. */
  readonly path: string;
  readonly text: string;
}

export type Address = ObjectAddress | HostAddress;

const SCHEME = /^(s3|ssh):\/\//;
const OBJECT = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{2,62})\/(.+)$/s;
/** Neither a user nor a host may look like an option. */
const HOST =
  /^ssh:\/\/(?:([^\s/@:-][^\s/@:]*)@)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_][A-Za-z0-9_.-]*))(?::([0-9]{1,5}))?\/(.+)$/s;

const MAX_PORT = 65535;
/** Bytes in UTF-8 (Amazon S3 User Guide, "Naming Amazon S3 objects"). */
const MAX_KEY_BYTES = 1024;
/** Paths travel as lines, which end with the one and cannot hold the other. */
const UNSENDABLE = ['\n', '\r', '\0'] as const;

/** True for a name that is not that of a local file, whether or not the rest of it is right. */
export const isAddress = (name: string): boolean => SCHEME.test(name);

/** Throws QuicksaveError for what is not right in it. */
export function parseAddress(text: string): Address {
  return text.startsWith('s3:') ? parseObject(text) : parseHost(text);
}

function parseObject(text: string): ObjectAddress {
  const [, bucket = '', key = ''] = OBJECT.exec(text) ?? [];
  if (bucket === '') throw badAddress(text, 'it is to be s3://BUCKET/KEY');
  if (key.endsWith('/')) throw badAddress(text, 'its key ends as the name of a folder does');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw badAddress(text, `its key has more than ${MAX_KEY_BYTES} bytes`);
  return { kind: 's3', bucket, key, text };
}

function parseHost(text: string): HostAddress {
  const [, user, address, name, portText, encoded = ''] = HOST.exec(text) ?? [];
  const host = address ?? name;
  if (host === undefined) throw badAddress(text, 'it is to be ssh://[USER@]HOST[:PORT]/PATH');
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > MAX_PORT)) throw badAddress(text, `there is no port ${portText}`);
  const decoded = tryDecode(encoded);
  if (decoded === undefined) throw badAddress(text, 'a % in it stands before no two hexadecimal digits (%25 is a %)');
  if (UNSENDABLE.some((one) => decoded.includes(one))) throw badAddress(text, 'there is a line break in its path');
  if (decoded.endsWith('/')) throw badAddress(text, 'its path ends as the name of a folder does');
  const path = decoded.startsWith('~/') ? `./${decoded.slice(2)}` : `/${decoded}`;
  return { kind: 'ssh', user, host, port, path, text };
}

function tryDecode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

const badAddress = (text: string, why: string): QuicksaveError =>
  new QuicksaveError('bad-address', `${JSON.stringify(text)} is no address of an image: ${why}.`);
