import { ftruncateSync, writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { newMemoryFile } from '../../../src/kernel/calls/descriptors.ts';
import { bytesAt, NativeMemory } from '../../../src/kernel/native-memory.ts';
import { localAddress } from '../../../src/support/brand.ts';

test('a file of more than 4 GiB is mapped, and its parts are read', () => {
  const sizeBytes = 5 * 2 ** 30;
  const file = newMemoryFile('large');
  try {
    ftruncateSync(file.number, sizeBytes);
    writeSync(file.number, 'the end', sizeBytes - 7);
    const mapped = NativeMemory.mapFile(file.number, sizeBytes);
    expect(bytesAt(localAddress(mapped.address + sizeBytes - 7), 7).toString()).toBe('the end');
    mapped.free();
  } finally {
    file.close();
  }
});

test('what is written through one window is seen through the other', () => {
  const memory = NativeMemory.allocate(4096);
  memory.view.setUint32(8, 0x01020304, true);
  expect([...memory.bytes.subarray(8, 12)]).toEqual([4, 3, 2, 1]);
  memory.free();
});
