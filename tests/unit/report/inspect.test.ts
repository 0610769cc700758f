import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { inspectImage } from '../../../src/report/inspect.ts';
import { errorOf, MemorySource, sampleHead } from '../image/streams.ts';
import { processImage } from './sample-image.ts';

const image = processImage();
const inspection = inspectImage(new MemorySource(image));
const [process] = inspection.processes;

describe('an inspection', () => {
  it('is the same after a journey through JSON', () => {
    expect(JSON.parse(JSON.stringify(inspection))).toEqual(inspection);
  });

  it('is the same from a stream that cannot be skipped in', () => {
    const source = new MemorySource(image, 1000);
    expect(inspectImage({ read: (into) => source.read(into) })).toEqual(inspection);
  });

  it('has the header', () => {
    expect(inspection.header).toEqual({
      formatVersion: 1,
      imageId: sampleHead.imageId,
      tool: 'quicksave 0.1.0',
      createdAt: new Date(sampleHead.createdAt).toISOString(),
      kernel: sampleHead.kernel,
      pageSize: 4096,
      cpu: {
        vendor: 'GenuineIntel',
        features: ['fpu', 'avx512f'],
        xcr0: '0xe7',
        xstateBytes: 2696,
        xstateComponents: [{ index: 2, name: 'avx', offset: 576, sizeBytes: 256 }],
      },
    });
  });

  it('has the times of the save', () => {
    expect(inspection.timeline).toMatchObject({ stoppingUs: 61_300, resumedUs: 71_300, writtenUs: 1_305_000 });
  });

  it('has the threads with their registers by name', () => {
    expect(process?.threads.map(({ tid, name }) => [tid, name])).toEqual([
      [4242, 'worker'],
      [4243, 'helper'],
    ]);
    const [sleeper, runner] = process?.threads ?? [];
    expect(sleeper?.registers).toMatchObject({ rip: '0x401000', rax: '0xfffffffffffffdfc', orig_rax: '0xe6' });
    expect(sleeper?.eflags).toEqual(['PF', 'ZF', 'IF']);
    expect(sleeper?.xstate).toEqual({ sizeBytes: 832, inUse: ['SSE', 'AVX'] });
    expect(sleeper?.blockedSignals).toEqual([]);
    expect(runner?.signalMask).toBe('0xfffffffffffbfeff');
    expect(runner?.blockedSignals).toHaveLength(62);
  });

  it('has the system call that a thread was in, and none for one that was running', () => {
    const [sleeper, runner] = process?.threads ?? [];
    expect(sleeper?.systemCall).toEqual({
      number: 230,
      name: 'clock_nanosleep',
      arguments: ['0x1', '0x0', '0x7ffd1000', '0x7ffd2000'],
      restarts: 'rest',
    });
    expect(runner).not.toHaveProperty('systemCall');
  });

  it('counts the pages of each mapping, also of a run that reaches over two', () => {
    expect(process?.mappings.map(({ pages }) => pages)).toEqual([
      { dataPages: 0, zeroPages: 0 },
      { dataPages: 1, zeroPages: 2 },
      { dataPages: 1, zeroPages: 0 },
    ]);
  });

  it('has the mappings with their files, names and flags', () => {
    expect(process?.mappings[0]).toMatchObject({
      start: '0x400000',
      end: '0x402000',
      sizeBytes: 8192,
      permissions: 'r-x',
      offset: 4096,
      kind: 'private-file',
      file: '/usr/bin/worker',
      flags: [],
    });
    expect(process?.mappings[1]?.name).toBe('arena');
    expect(process?.mappings[2]).not.toHaveProperty('name');
    expect(process?.mappings[2]?.flags).toEqual(['grows down', 'zz']);
  });

  it('has the descriptors decoded, also of a kind that it does not know', () => {
    expect(process?.descriptors[1]).toMatchObject({
      fd: 2,
      closeOnExec: true,
      object: 13,
      kind: 'regular-file',
      path: '/var/log/worker',
      position: 77,
      flags: ['O_WRONLY', 'O_APPEND', 'O_LARGEFILE'],
    });
    expect(process?.descriptors[2]).toMatchObject({
      fd: 9,
      kind: 'from-the-future',
      path: '/tmp/x',
      flags: ['O_RDWR'],
      contentBytes: 5000,
      state: { colour: 'blue' },
    });
  });

  it('has the states of aspects as they are, large numbers as decimal text', () => {
    expect(process?.aspects['limits']).toEqual({
      RLIMIT_NOFILE: { soft: 1024, hard: 4096 },
      RLIMIT_CPU: { soft: '18446744073709551615', hard: '18446744073709551615' },
    });
    expect(process?.aspects['fromTheFuture']).toEqual({
      words: ['a', 'b'],
      nothing: [],
      deep: { bytes: { bytes: 2, hex: '00ff' } },
    });
  });

  it('says what takes the room', () => {
    expect(inspection.sizes).toMatchObject({
      imageBytes: image.length,
      storedPageBytes: 4 * 4096,
      otherBytes: image.length - 4 * 4096,
      pages: { dataPages: 4, zeroPages: 2 },
      memory: [
        { kind: 'anonymous', mappings: 2, dataPages: 2, zeroPages: 2 },
        { kind: 'private-file', mappings: 1, dataPages: 0, zeroPages: 0 },
      ],
      content: [{ object: 14, dataPages: 2, zeroPages: 0 }],
    });
  });

  it('counts compressed pages as pages', () => {
    const { sizes } = inspectImage(new MemorySource(processImage(1)));
    expect(sizes.pages).toEqual({ dataPages: 4, zeroPages: 2 });
    expect(sizes.storedPageBytes).toBeLessThan(4 * 4096);
  });
});

/** Names of fields, but for what is the image's own. */
function fieldsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(fieldsOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) =>
    ['state', 'aspects', 'registers'].includes(key) ? [key] : [key, ...fieldsOf(part)],
  );
}

it('has no field that its documentation does not name', () => {
  const documentation = readFileSync(new URL('../../../docs/inspect-json.md', import.meta.url), 'utf8');
  for (const field of new Set(fieldsOf(inspection))) expect(documentation).toContain(`\`${field}\``);
});

describe('what is no whole image', () => {
  it('is refused when it is cut', () => {
    expect(errorOf(() => inspectImage(new MemorySource(image.subarray(0, 3000)))).code).toBe('cut-image');
  });

  it('is refused when it is another file', () => {
    expect(errorOf(() => inspectImage(new MemorySource(Buffer.from('#!/bin/sh\nexit 0\n'.repeat(9))))).code).toBe(
      'not-an-image',
    );
  });

  it('is refused when its metadata was changed', () => {
    const changed = image.slice();
    changed[200] = (changed[200] ?? 0) ^ 1;
    expect(errorOf(() => inspectImage(new MemorySource(changed))).code).toBe('damaged-image');
  });
});
