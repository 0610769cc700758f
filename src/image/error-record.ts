/**
 * ERROR, the record that ends the stream of a failed checkpoint: why there is no image.
 */
import * as v from 'valibot';
import { encodeCbor } from './cbor.ts';
import { boundedString } from './schema.ts';

const MAX_CODE_LENGTH = 64;
const MAX_MESSAGE_LENGTH = 4096;

export const ErrorState = v.object({
  code: boundedString(MAX_CODE_LENGTH),
  message: boundedString(MAX_MESSAGE_LENGTH),
});

/** To report a failure must not fail: a text that is too long or broken is cut and mended. */
export const encodeError = (code: string, message: string): Uint8Array =>
  encodeCbor({ code: mendText(code, MAX_CODE_LENGTH), message: mendText(message, MAX_MESSAGE_LENGTH) });

const mendText = (text: string, maxLength: number): string => text.slice(0, maxLength).replace(/\p{Surrogate}/gu, '?');
