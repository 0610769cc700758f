/** Reading an object to its end: where a connection breaks off, the rest is asked for again. */
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import type { ObjectAddress } from '../support/address.ts';
import type { ImagePipe } from './image-pipe.ts';
import { nameOf } from './multipart-upload.ts';

/** Times that a read is begun again without having brought a byte, and how long it waits before, as often. */
const MAX_FRUITLESS = 4;
const PAUSE_MS = 250;

export async function download(
  client: S3Client,
  address: ObjectAddress,
  pipe: ImagePipe,
  onReady: () => void,
): Promise<void> {
  const name = nameOf(address);
  const { Body, ContentLength: sizeBytes = 0, ETag } = await client.send(new GetObjectCommand(name));
  onReady();
  let done = 0;
  const take = async (body: unknown): Promise<void> => {
    for await (const bytes of body as AsyncIterable<Uint8Array>) {
      await pipe.write(bytes);
      done += bytes.length;
    }
    if (done < sizeBytes) throw new Error(`only ${done} of ${sizeBytes} bytes came`);
  };
  // The rest of the same object: if it has been replaced meanwhile, that is refused (412).
  const takeRest = async (): Promise<void> => {
    const rest = { ...name, Range: `bytes=${done}-`, IfMatch: ETag };
    await take((await client.send(new GetObjectCommand(rest))).Body);
  };
  let fruitless = 0;
  for (let attempt = take(Body); ; attempt = takeRest()) {
    const before = done;
    try {
      await attempt;
      break;
    } catch (error) {
      fruitless = done > before ? 1 : fruitless + 1;
      if (pipe.isForsaken() || fruitless > MAX_FRUITLESS || isAnswer(error)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * fruitless));
  }
  await pipe.end();
}

/** The server has said no, which it will say again. */
function isAnswer(error: unknown): boolean {
  const { httpStatusCode = 0 } = (error as { $metadata?: { httpStatusCode?: number } }).$metadata ?? {};
  return httpStatusCode >= 400 && httpStatusCode < 500;
}
