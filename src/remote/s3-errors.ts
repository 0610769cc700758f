/** What goes wrong with an object store, as a sentence with a remedy. */
import type { ObjectAddress } from '../support/address.ts';
import type { ErrorCode } from '../support/error-pages/catalogue.ts';
import { QuicksaveError } from '../support/errors.ts';

interface ClientError {
  readonly name?: string;
  readonly message?: string;
  /** Of what the network said. */
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** `isUnderWay`: the store had taken the image, or given the first of it. */
export function storeError(cause: unknown, address: ObjectAddress, isUnderWay: boolean): QuicksaveError {
  if (cause instanceof QuicksaveError) return cause;
  const { code, sentence, remedy } = describe(cause as ClientError, address, isUnderWay);
  return new QuicksaveError(code, sentence, { cause, ...(remedy === undefined ? {} : { remedy }) });
}

interface Described {
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly remedy?: string;
}

function describe(error: ClientError, { text, bucket }: ObjectAddress, isUnderWay: boolean): Described {
  const status = error.$metadata?.httpStatusCode;
  const said = saidOf(error);
  if (status === undefined && /Credentials|Token/.test(error.name ?? '')) {
    return { code: 'remote-denied', sentence: `There are no credentials for ${text}: ${said}.` };
  }
  if (status === undefined && /Region is missing/.test(error.message ?? '')) {
    return {
      code: 'remote-failed',
      sentence: `It is not known in which region the bucket ${bucket} is.`,
      remedy: 'Set AWS_REGION, or AWS_ENDPOINT_URL for a store that is not of Amazon.',
    };
  }
  if (status === 401 || status === 403) {
    return { code: 'remote-denied', sentence: `The store does not let this key have ${text}: ${said}.` };
  }
  if (error.name === 'NoSuchBucket') {
    return {
      code: 'remote-missing',
      sentence: `There is no bucket ${bucket} for ${text}.`,
      remedy: 'Make the bucket, or look whether AWS_ENDPOINT_URL and AWS_REGION are those of the right store.',
    };
  }
  if (status === 404 && !isUnderWay) return { code: 'remote-missing', sentence: `There is no object ${text}.` };
  if (status === 404) return { code: 'connection-lost', sentence: `The store has thrown away what it had of ${text}.` };
  if (status === 412) return { code: 'connection-lost', sentence: `${text} was replaced while it was read.` };
  if (status !== undefined && status >= 300) {
    return { code: 'remote-failed', sentence: `The store failed with ${text}: ${said} (status ${status}).` };
  }
  if (isUnderWay)
    return { code: 'connection-lost', sentence: `The connection to the store of ${text} broke off: ${said}.` };
  return { code: 'remote-unreachable', sentence: `The store of ${text} cannot be reached: ${said}.` };
}

/** Without the dot at the end, if there is one. */
function saidOf({ name, message, code }: ClientError): string {
  const words =
    message === undefined || message === '' || message === 'UnknownError' ? (code ?? name ?? 'nothing') : message;
  return words.replaceAll(/\s+/g, ' ').replace(/\.$/, '');
}
