/** An image that goes to another host, and is there under its name when it is complete. */
import { keepFromChildren } from '../kernel/calls/own-descriptors.ts';
import { Courier } from '../remote/courier.ts';
import { isAddress, parseAddress } from '../support/address.ts';
import { type Output, outputTo, streamOutput } from './output.ts';

const STANDARD_OUTPUT = 1;

/** `name`: a path, `-` for standard output, or an address. Throws QuicksaveError if nothing can be written there. */
export function openOutput(name: string): Output {
  if (name === '-') return streamOutput(STANDARD_OUTPUT);
  return isAddress(name) ? remoteOutput(name) : outputTo(name);
}

function remoteOutput(name: string): Output {
  // Else it could hold a pipe of the very program that is saved, as an outsider.
  keepFromChildren();
  const courier = new Courier({ direction: 'put', address: parseAddress(name).text });
  const { write } = streamOutput(courier.fd);
  return {
    fd: courier.fd,
    positioned: false,
    isCarried: true,
    write,
    commit: () => courier.commit(),
    abandon: () => courier.abandon(),
  };
}
