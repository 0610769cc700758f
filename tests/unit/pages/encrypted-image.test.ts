/** Encrypted images in files: mapped, checked, and looked up as others are. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newEnvelope } from '../../../src/image/envelope.ts';
import { imagesIn } from '../../../src/image/image-folder.ts';
import { type OpenedInput, openInput } from '../../../src/image/image-source.ts';
import type { Recipient } from '../../../src/image/key-files.ts';
import type { ImageAccess } from '../../../src/image/protection.ts';
import { sealSegment } from '../../../src/image/segment.ts';
import { openAddressed } from '../../../src/pages/addressed-image.ts';
import { type ImageInput, readImageFile } from '../../../src/pages/image-input.ts';
import { checkedBy, mapImage } from '../../../src/pages/mapped-image.ts';
import { PageCrew } from '../../../src/pages/page-crew.ts';
import { encodeParentPages, ParentPages } from '../../../src/pages/parent-pages.ts';
import { storedPieces } from '../../../src/pages/stored-pages.ts';
import { ImageError } from '../../../src/support/errors.ts';
import { partsOf, rewritten } from '../image/encrypted-images.ts';
import { errorOf, sampleHead } from '../image/streams.ts';
import { processImage } from '../report/sample-image.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quicksave-encrypted-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const secret = randomBytes(32);
const recipients: Recipient[] = [{ kind: 'secret', secret }];
const access: ImageAccess = { keys: { secrets: [secret], privateKeys: [] } };
const crew = new PageCrew(0, () => undefined);

function using<T>(bytes: Uint8Array, use: (opened: OpenedInput) => T): T {
  const path = join(folder, 'image');
  writeFileSync(path, bytes);
  const opened = openInput(path, { access });
  try {
    return use(opened);
  } finally {
    opened.close();
  }
}

function allPages(input: ImageInput): Map<string, string | undefined> {
  const objects = new Set(input.chunks.map(({ objref }) => objref));
  const found = new Map<string, string | undefined>();
  for (const objref of objects) {
    for (const { address, bytes } of input.pages(objref)) {
      found.set(`${objref} ${address}`, bytes === undefined ? undefined : Buffer.from(bytes).toString('base64'));
    }
  }
  return found;
}

test.for([undefined, 1])('has the pages of the plain one, level %s', (level) => {
  const plain = processImage(level);
  const pagesOf = (bytes: Uint8Array): Map<string, string | undefined> =>
    using(bytes, (opened) => {
      const input = readImageFile(opened, crew, undefined, { unpacks: true });
      expect(input.checkPages().dataPages).toBeGreaterThan(0);
      const pages = allPages(input);
      input.close();
      return pages;
    });
  expect(pagesOf(rewritten(plain, { recipients, signer: undefined }))).toEqual(pagesOf(plain));
});

test('a changed byte of a segment is seen before anything is made of it', () => {
  const image = rewritten(processImage(1), { recipients, signer: undefined });
  const { envelope, segments } = partsOf(image);
  let at = envelope.length;
  for (const segment of segments) {
    const changed = Buffer.from(image);
    changed[at + 8] = (changed[at + 8] ?? 0) ^ 1;
    const error = using(changed, (opened) => errorOf(() => readImageFile(opened, crew)));
    expect(error.code).toBe('damaged-image');
    expect(error).toBeInstanceOf(ImageError);
    at += segment.length;
  }
});

test('data of a chunk that is not a segment of its own is refused', () => {
  const plain = processImage();
  const { bytes, key } = newEnvelope(recipients);
  const half = plain.length >> 1;
  const image = Buffer.concat([
    bytes,
    ...sealSegment(key, 0, [plain.subarray(0, half)]),
    ...sealSegment(key, half, [plain.subarray(half)], { isLast: true }),
  ]);
  const error = using(image, (opened) => errorOf(() => readImageFile(opened, crew)));
  expect(error.message).toMatch(/not one encrypted segment/);
});

test('its pages can be looked up by address', () => {
  using(rewritten(processImage(1), { recipients, signer: undefined }), (opened) => {
    const image = openAddressed(opened);
    expect(image.pages(10).page(0x50_4000)).not.toEqual(new Uint8Array(4096));
    image.close();
  });
});

test('a page is held against that of an encrypted parent', () => {
  using(rewritten(processImage(1), { recipients, signer: undefined }), (opened) => {
    const image = mapImage(opened, crew, checkedBy(crew));
    const pieces = storedPieces(image.chunks.filter(({ objref }) => objref === 10));
    const input = readImageFile(opened, crew);
    const page = [...input.pages(10)].find(({ address }) => address === 0x50_4000);
    const parent = new ParentPages(encodeParentPages(pieces));
    const bytes = Buffer.from(page?.bytes ?? []);
    expect(parent.equals(0x50_4000, bytes, 0)).toBe(true);
    bytes[17] = (bytes[17] ?? 0) ^ 1;
    expect(parent.equals(0x50_4000, bytes, 0)).toBe(false);
    input.close();
    image.close();
  });
});

test('is found by its id only with its key', () => {
  writeFileSync(join(folder, 'parent'), rewritten(processImage(1), { recipients, signer: undefined }));
  imagesIn(folder, access)(sampleHead.imageId).opened.close();
  const error = errorOf(() => imagesIn(folder)(sampleHead.imageId));
  expect(error.code).toBe('missing-parent');
  expect(error.message).toMatch(/parent cannot be opened with the keys given/);
});
