/** Objects of Amazon S3, and of the many that speak as it does. */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { ObjectAddress } from '../support/address.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Carrier } from './carrier.ts';
import { storeError } from './s3-errors.ts';

const MEBIBYTE = 1024 * 1024;
/** Limits of a part: Amazon S3 User Guide, "multipart upload limits". */
const PART_MIB = { usual: 32, min: 5, max: 5120 } as const;
/** Until a connection stands, and between two bytes of one. */
const CONNECTION_TIMEOUT_MS = 10_000;
const SILENCE_TIMEOUT_MS = 60_000;

/** The client takes a while to load: only who needs it does. */
export async function carryByObjectStore(address: ObjectAddress): Promise<Carrier> {
  const partBytes = partSize();
  const { S3Client } = await import('@aws-sdk/client-s3');
  const { MultipartUpload } = await import('./multipart-upload.ts');
  const { download } = await import('./object-download.ts');
  const client: S3Client = new S3Client(configuration());
  let isUnderWay = false;
  const telling = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw storeError(error, address, isUnderWay);
    }
  };
  return {
    put: (pipe, onReady) => {
      const upload = async (): Promise<boolean> => {
        const object = await MultipartUpload.begin(client, address);
        try {
          isUnderWay = true;
          onReady();
          for await (const part of inParts(pipe.bytes(), partBytes)) await object.send(part);
          const isKept = await pipe.isWhole();
          if (isKept) await object.complete();
          else await object.abort();
          return isKept;
        } catch (error) {
          await object.abort();
          throw error;
        }
      };
      return telling(upload());
    },
    get: (pipe, onReady) => {
      const begun = (): void => {
        isUnderWay = true;
        onReady();
      };
      return telling(download(client, address, pipe, begun));
    },
  };
}

/** The client itself looks for credentials, a profile and an endpoint in the environment, in ~/.aws and at the host that it runs on. */
function configuration(): S3ClientConfig {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const isElsewhere = (AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL ?? '') !== '';
  // Whoever has an endpoint of their own mostly has no regions, but the signature needs one.
  const region = AWS_REGION || AWS_DEFAULT_REGION || (isElsewhere ? 'us-east-1' : undefined);
  return {
    ...(region === undefined ? {} : { region }),
    // Names of buckets are names of hosts at Amazon, and seldom elsewhere.
    forcePathStyle: isElsewhere,
    // Each image has checksums of its own, and many stores do not know these.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECTION_TIMEOUT_MS, socketTimeout: SILENCE_TIMEOUT_MS },
  };
}

function partSize(): number {
  const text = process.env['QUICKSAVE_S3_PART_MIB'] ?? String(PART_MIB.usual);
  const mib = Number(text);
  if (Number.isInteger(mib) && mib >= PART_MIB.min && mib <= PART_MIB.max) return mib * MEBIBYTE;
  const range = `a number from ${PART_MIB.min} to ${PART_MIB.max}`;
  throw new QuicksaveError('bad-address', `QUICKSAVE_S3_PART_MIB in the environment is to be ${range}, not "${text}".`);
}

/** The bytes in parts of that size; the last is shorter. There is at least one. */
async function* inParts(source: AsyncIterable<Uint8Array>, partBytes: number): AsyncGenerator<Uint8Array> {
  let part = Buffer.allocUnsafe(partBytes);
  let filled = 0;
  for await (const bytes of source) {
    for (let done = 0; done < bytes.length; ) {
      if (filled === partBytes) {
        yield part;
        // The one before may still be on its way.
        part = Buffer.allocUnsafe(partBytes);
        filled = 0;
      }
      const step = Math.min(bytes.length - done, partBytes - filled);
      part.set(bytes.subarray(done, done + step), filled);
      filled += step;
      done += step;
    }
  }
  yield part.subarray(0, filled);
}
