/** A store of objects on loopback: tests/programs/object-store.py. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { waitFor } from './harness.ts';

const program = join(dirname(fileURLToPath(import.meta.url)), '..', 'programs', 'object-store.py');
/** Debian's own: Swift is installed for it, whatever other python3 there is. */
const PYTHON = '/usr/bin/python3';

export const hasObjectStore = existsSync('/usr/lib/python3/dist-packages/swift/common/middleware/s3api');

export interface ObjectStore {
  readonly port: number;
  /** What the command needs to find it. */
  readonly env: Record<string, string>;
  readonly makeBucket: (name: string) => Promise<void>;
  /** What is in a bucket: complete objects, and uploads that are neither completed nor aborted. */
  readonly content: (bucket: string) => Promise<{ keys: string[]; uploads: string[] }>;
  /** Leaves nothing of it. */
  readonly stop: () => Promise<void>;
}

/** Swift keeps what it knows of files in extended attributes, which /dev/shm has. */
export async function startObjectStore(): Promise<ObjectStore> {
  const folder = mkdtempSync('/dev/shm/quicksave-test-');
  const child = spawn(PYTHON, [program, folder], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  const heard = await waitFor('the object store to listen', () => /listening (\d+)/.exec(said) ?? undefined);
  const env = environmentFor(Number(heard[1]));
  const client = new S3Client({
    endpoint: env['AWS_ENDPOINT_URL'] ?? '',
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: KEY, secretAccessKey: SECRET },
  });
  return {
    port: Number(heard[1]),
    env,
    makeBucket: async (Bucket) => void (await client.send(new CreateBucketCommand({ Bucket }))),
    content: async (Bucket) => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
      return { keys: Contents.map(({ Key }) => Key ?? ''), uploads: Uploads.map(({ Key }) => Key ?? '') };
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

const KEY = 'test:tester';
const SECRET = 'testing';

/** `port`: of the store, or of what stands before it. */
export const environmentFor = (port: number): Record<string, string> => ({
  AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
  AWS_ACCESS_KEY_ID: KEY,
  AWS_SECRET_ACCESS_KEY: SECRET,
  QUICKSAVE_S3_PART_MIB: '5',
});
