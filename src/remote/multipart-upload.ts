/**
 * An object that is written in parts while it is made. It has its name only when the last part is there and the upload is completed
 * (Amazon S3 User Guide, "Uploading and copying objects using multipart upload"): until then nobody sees anything of it.
 */
import { randomUUID } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { ObjectAddress } from '../support/address.ts';
import { QuicksaveError } from '../support/errors.ts';

/** Of one object, counted from 1 (Amazon S3 User Guide, "multipart upload limits"). */
const MAX_PARTS = 10_000;
/** Parts on their way at a time. Each is in memory until it has arrived, because it may have to be sent again. */
const PARALLEL_PARTS = 3;
/** By which a completed upload is known again, if its answer was lost. */
const MARK = 'quicksave-upload';

interface Part {
  readonly PartNumber: number;
  readonly ETag: string | undefined;
}

export class MultipartUpload {
  readonly #client: S3Client;
  readonly #address: ObjectAddress;
  readonly #uploadId: string | undefined;
  readonly #mark: string;
  readonly #parts: Part[] = [];
  readonly #sending = new Set<Promise<void>>();
  #count = 0;
  #failure: { readonly error: unknown } | undefined;

  private constructor(client: S3Client, address: ObjectAddress, uploadId: string | undefined, mark: string) {
    this.#client = client;
    this.#address = address;
    this.#uploadId = uploadId;
    this.#mark = mark;
  }

  /** Rejects if there is no such bucket, or nothing may be written there. */
  static async begin(client: S3Client, address: ObjectAddress): Promise<MultipartUpload> {
    const mark = randomUUID();
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({
        ...nameOf(address),
        ContentType: 'application/octet-stream',
        Metadata: { [MARK]: mark },
      }),
    );
    return new MultipartUpload(client, address, UploadId, mark);
  }

  /** Resolves when there is room for another part. All parts but the last must be of one size, of at least 5 MiB. */
  async send(bytes: Uint8Array): Promise<void> {
    this.#throwFailure();
    this.#count++;
    if (this.#count > MAX_PARTS) {
      throw new QuicksaveError(
        'remote-failed',
        `The image has more than ${MAX_PARTS} parts of ${bytes.length} bytes.`,
        {
          remedy: 'Let parts be larger: QUICKSAVE_S3_PART_MIB in the environment.',
        },
      );
    }
    const sending = this.#sendPart(this.#count, bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
    if (this.#sending.size >= PARALLEL_PARTS) await Promise.race(this.#sending);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #sendPart(PartNumber: number, Body: Uint8Array): Promise<void> {
    const { ETag } = await this.#client.send(new UploadPartCommand({ ...this.#upload, PartNumber, Body }));
    this.#parts.push({ PartNumber, ETag });
  }

  /** The object is there when this resolves. */
  async complete(): Promise<void> {
    await Promise.all(this.#sending);
    this.#throwFailure();
    const Parts = this.#parts.sort((a, b) => a.PartNumber - b.PartNumber);
    try {
      await this.#client.send(new CompleteMultipartUploadCommand({ ...this.#upload, MultipartUpload: { Parts } }));
    } catch (error) {
      // Its answer may have been lost: a second try finds no upload then, but the object.
      if (!(await this.#isComplete())) throw error;
    }
  }

  async #isComplete(): Promise<boolean> {
    try {
      const { Metadata } = await this.#client.send(new HeadObjectCommand(nameOf(this.#address)));
      return Metadata?.[MARK] === this.#mark;
    } catch {
      return false;
    }
  }

  /** Frees what was sent. Where that fails it stays, unseen, until the bucket's rules remove it. */
  async abort(): Promise<void> {
    await Promise.all(this.#sending);
    await this.#client.send(new AbortMultipartUploadCommand(this.#upload)).catch(() => undefined);
  }

  get #upload(): { readonly Bucket: string; readonly Key: string; readonly UploadId: string | undefined } {
    return { ...nameOf(this.#address), UploadId: this.#uploadId };
  }
}

export const nameOf = ({ bucket, key }: ObjectAddress): { readonly Bucket: string; readonly Key: string } => ({
  Bucket: bucket,
  Key: key,
});
