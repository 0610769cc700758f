/**
 * The process that carries an image between a pipe and another host, because whoever makes or reads it does so synchronously. It has an
 * event loop of its own, and a client is loaded only here. See courier.ts for who starts it.
 */
import { writeSync } from 'node:fs';
import { parseAddress } from '../support/address.ts';
import { describeError } from '../support/error-data.ts';
import type { Carrier } from './carrier.ts';
import { type ImagePipe, imagePipe } from './image-pipe.ts';
import { type CourierOrder, type CourierReply, REPLY_FD } from './messages.ts';
import { carryByObjectStore } from './s3.ts';
import { carryBySsh } from './ssh.ts';

function tell(reply: CourierReply): void {
  try {
    writeSync(REPLY_FD, `${JSON.stringify(reply)}\n`);
  } catch {
    // Whoever has sent us is gone.
  }
}

async function carry({ direction, address: text }: CourierOrder, pipe: ImagePipe): Promise<CourierReply> {
  const address = parseAddress(text);
  const carrier: Carrier = address.kind === 's3' ? await carryByObjectStore(address) : carryBySsh(address);
  const onReady = (): void => tell({ kind: 'ready' });
  if (direction === 'get') {
    await carrier.get(pipe, onReady);
    return { kind: 'done' };
  }
  const isKept = await carrier.put(pipe, onReady);
  return { kind: isKept ? 'done' : 'abandoned' };
}

// Whoever has sent us acts on a signal to the whole group (Ctrl-C): its end is the end of what we carry.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
const pipe = imagePipe();
try {
  tell(await carry(JSON.parse(process.argv[2] ?? '') as CourierOrder, pipe));
} catch (error) {
  // Nobody reads on: there is nobody to tell either.
  if (!pipe.isForsaken()) tell({ kind: 'failed', error: describeError(error) });
}
process.exit();
