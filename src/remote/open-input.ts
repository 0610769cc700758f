/** Opening an image by its name, wherever it is. */
import { type OpenedInput, type OpenOptions, openInput as openLocal, prepareInput } from '../image/image-source.ts';
import { isAddress, parseAddress } from '../support/address.ts';
import { Courier } from './courier.ts';

/** As that of image/image-source.ts; an image on another host comes as through a pipe. */
export function openInput(source: string, options: OpenOptions = {}): OpenedInput {
  if (!isAddress(source)) return openLocal(source, options);
  const { text } = parseAddress(source);
  const courier = new Courier({ direction: 'get', address: text });
  const { fd, end } = courier;
  return prepareInput(source, { fd, sizeBytes: undefined, onEnd: end, close: () => courier.close() }, options);
}
