import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { RECORD } from '../../../src/image/record-types.ts';
import { verifyImageAt } from '../../../src/report/verify.ts';
import { errorOf, recordSpans } from '../image/streams.ts';
import { processImage } from './sample-image.ts';

const folder = mkdtempSync(join(tmpdir(), 'quicksave-verify-'));
afterAll(() => rmSync(folder, { recursive: true }));

function errorWhenVerified(image: Uint8Array): { code: string; message: string } {
  const file = join(folder, 'image');
  writeFileSync(file, image);
  return errorOf(() => verifyImageAt(file));
}

/** A byte of the data of the first page chunk. */
function withChangedPage(image: Uint8Array): Uint8Array {
  const changed = image.slice();
  const view = new DataView(changed.buffer, changed.byteOffset, changed.byteLength);
  const chunk = recordSpans(changed).find(({ start }) => view.getUint32(start, true) === RECORD.PGARR);
  const at = (chunk?.end ?? 0) - 100;
  changed[at] = (changed[at] ?? 0) ^ 0x10;
  return changed;
}

it.each([undefined, 1])('a changed page is found (compression level %s)', (level) => {
  expect(errorWhenVerified(withChangedPage(processImage(level)))).toMatchObject({
    code: 'damaged-image',
    message: expect.stringMatching(/^The image is damaged: the checksum of the PGARR record at byte \d+/),
  });
});

it('a cut image is found', () => {
  expect(errorWhenVerified(processImage().subarray(0, -60)).code).toBe('cut-image');
});

it('an empty file is no image', () => {
  expect(errorWhenVerified(new Uint8Array(0)).code).toBe('not-an-image');
});

it('a state that no restart would take is found, whatever the checksums say', () => {
  expect(errorWhenVerified(processImage())).toMatchObject({
    code: 'bad-record',
    message: 'TASK_STATE record: this quicksave does not know its fromTheFuture.',
  });
});

it('a file that is not there has its name in the message', () => {
  expect(errorOf(() => verifyImageAt('/nowhere/image')).message).toBe(
    'The image /nowhere/image cannot be opened: it does not exist.',
  );
});
