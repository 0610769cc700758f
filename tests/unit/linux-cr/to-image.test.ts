import { describe, expect, it } from 'vitest';
import { decodeCpu } from '../../../src/arch/x86/records.ts';
import { readRegister } from '../../../src/arch/x86/registers.ts';
import type { StreamToWrite } from '../../../src/linux-cr/from-image.ts';
import type { ReadMemory } from '../../../src/linux-cr/initial-stack.ts';
import { CR_HDR, CR_HEADER_SIZE, PAGE, VM } from '../../../src/linux-cr/layout.ts';
import { readLinuxCr } from '../../../src/linux-cr/read-stream.ts';
import { type RestartSide, type TranslatedStream, toImage } from '../../../src/linux-cr/to-image.ts';
import { checkStates } from '../../../src/report/state-check.ts';
import { bytesOf, CODE, DIGEST, HEAP, PID, recordsIn, sample, sourceFrom } from './streams.ts';

const noMemory: ReadMemory = (_address, length) => Buffer.alloc(length);

const side: RestartSide = {
  processStates: { credentials: 'of the command' },
  threadStates: { scheduling: 'of the command' },
  acceptChangedFiles: false,
  lookAt: (path) => {
    const mtimeNs = path === '/srv/log' ? 1_700_000_001_000_000_000n : 1_600_000_000_000_000_000n;
    return path === '/srv/none' ? undefined : { dev: 3n, ino: 4n, size: 5n, mtimeNs };
  },
};

const translate = (bytes: Buffer, given?: RestartSide): TranslatedStream =>
  toImage(readLinuxCr(sourceFrom(bytes)), noMemory, given);
const changedStream = (changes: Partial<StreamToWrite>): Buffer => bytesOf({ ...sample, ...changes });

describe('a stream of 2008 as an image', () => {
  it('is a 32-bit program of one thread with the mappings of the stream', () => {
    const { model } = translate(bytesOf(), side);
    expect(model.root.task).toMatchObject({ pid: PID, comm: 'wörker', threads: [PID], addressBits: 32, layoutBits: 0 });
    expect(model.root.task.vdso.sha256).toBe(DIGEST);
    expect(
      model.root.mappings.map(({ start, kind, protection, offset, flags, hasPages }) => [
        start,
        kind,
        protection,
        offset,
        flags,
        hasPages,
      ]),
    ).toEqual([
      [CODE, 'private-file', 5, 0, [], false],
      [CODE + PAGE, 'private-file', 3, PAGE, [], true],
      [HEAP, 'anonymous', 3, 0, ['lo'], true],
      [0xf7fb_a000, 'kernel', 1, 0, [], false],
      [0xf7fc_0000, 'kernel', 5, 0, [], false],
    ]);
    expect(model.root.mappings.slice(3).map(({ state }) => state)).toEqual([{ name: '[vvar]' }, { name: '[vdso]' }]);
  });

  it('has its descriptions once each, and devices as devices', () => {
    const { model } = translate(bytesOf(), side);
    const kinds = model.root.files.entries.map(({ fd, object, closeOnExec }) => [
      fd,
      model.descriptions.get(object)?.kind,
      closeOnExec,
    ]);
    expect(kinds).toEqual([
      [0, 'memory-device', false],
      [1, 'regular-file', false],
      [7, 'regular-file', true],
      [9, 'directory', false],
    ]);
    expect(model.root.files.entries[1]?.object).toBe(model.root.files.entries[2]?.object);
    expect(model.descriptions.get(model.root.files.entries[1]?.object ?? 0)?.state).toMatchObject({
      file: { path: '/srv/log', inode: 4n, sizeBytes: 5n },
      position: 6n,
      flags: 2,
    });
  });

  it('has the registers of the stream, and the bases of its segments', () => {
    const { model } = translate(bytesOf(), side);
    const cpu = decodeCpu(model.root.threads[0]?.cpu ?? Buffer.alloc(0), 'CPU');
    expect(readRegister(cpu.registers, 'rip')).toBe(0x0804_8100n);
    expect(readRegister(cpu.registers, 'gs_base')).toBe(0xf7fb_95c0n);
    expect(readRegister(cpu.registers, 'fs_base')).toBe(0n);
    expect(cpu.xstate.readUInt32LE(24)).toBe(0x1f80);
    expect(cpu.xstate.readBigUInt64LE(512)).toBe(3n);
  });

  it('has what the command adds only where there is one', () => {
    expect(translate(bytesOf(), side).model.root.aspects['credentials']).toBe('of the command');
    const looked = translate(bytesOf()).model;
    expect(Object.keys(looked.root.aspects)).not.toContain('credentials');
    expect(looked.root.aspects).toMatchObject({ signalActions: [], memoryMapFields: { startCode: CODE } });
    // What is there is of the form that its kind has.
    expect(() => checkStates(looked)).not.toThrow();
  });

  it('names every file that has changed since, unless such files are accepted', () => {
    const { origin } = translate(bytesOf(), side).model;
    expect(origin?.problems.map(({ path }) => path.at(-1))).toEqual(['/srv/log']);
    expect(translate(bytesOf(), { ...side, acceptChangedFiles: true }).model.origin?.problems).toEqual([]);
  });

  it('takes the pages in stretches of the stream that are not too long', () => {
    const pages = 700;
    const vmas = sample.vmas.map((vma) => (vma.start === HEAP ? { ...vma, end: HEAP + pages * 2 * PAGE } : vma));
    // Every other page: all in one stretch of the stream, each apart in memory.
    const addresses = Uint32Array.from({ length: pages }, (_, index) => HEAP + index * 2 * PAGE);
    const bytes = bytesOf(
      { ...sample, vmas },
      {
        addressesIn: ({ start }) => (start === HEAP ? addresses : new Uint32Array(0)),
        page: (address) => Buffer.alloc(PAGE, address / PAGE),
      },
    );
    const { chunks } = translate(bytes, side);
    expect(chunks.map(({ runs }) => runs.length)).toEqual([256, 256, 188]);
    for (const chunk of chunks) {
      let position = chunk.dataPosition;
      for (const run of chunk.runs) {
        expect(bytes[position]).toBe((run.start / PAGE) & 0xff);
        position += run.pages * PAGE;
      }
    }
  });

  it('can be looked at without a vDSO, but not restarted', () => {
    const vmas = sample.vmas.slice(0, -1);
    expect(translate(changedStream({ vmas })).model.root.task.vdso.sha256).toBe('');
    expect(() => translate(changedStream({ vmas }), side)).toThrow('a kernel of 2008');
  });

  const bad: readonly { what: string; stream: Partial<StreamToWrite> }[] = [
    { what: 'another page protection than its flags', stream: vmaWith({ pageProt: 0x27n }) },
    { what: 'shared memory', stream: vmaWith({ flags: BigInt(VM.READ | VM.WRITE | VM.SHARED | VM.MAYSHARE) }) },
    { what: 'an unknown flag', stream: vmaWith({ flags: (sample.vmas[2]?.flags ?? 0n) | (1n << 40n) }) },
    { what: 'a place behind the end of all files', stream: vmaWith({ pageOffset: 2n ** 52n }, 1) },
    { what: 'a relative path', stream: vmaWith({ name: 'program' }, 0) },
    { what: 'other flags of the vDSO', stream: vmaWith({ flags: 5n }, 4) },
    { what: 'code without a file', stream: { fields: { ...sample.fields, startCode: HEAP, endCode: HEAP } } },
    { what: 'a symbolic link', stream: descriptionWith({ type: 3 }) },
    { what: 'another kind of file', stream: descriptionWith({ type: 4 }) },
    { what: 'a mode that is not that of the flags', stream: descriptionWith({ mode: 1 }) },
    { what: 'a relative name', stream: descriptionWith({ name: 'log' }) },
  ];

  function vmaWith(changes: Partial<StreamToWrite['vmas'][number]>, index = 2): Partial<StreamToWrite> {
    return { vmas: sample.vmas.map((vma, at) => (at === index ? { ...vma, ...changes } : vma)) };
  }
  function descriptionWith(
    changes: Partial<NonNullable<StreamToWrite['descriptors'][number]['description']>>,
  ): Partial<StreamToWrite> {
    const descriptors = sample.descriptors.map((entry) =>
      entry.fd === 1 && entry.description !== undefined
        ? { ...entry, description: { ...entry.description, ...changes } }
        : entry,
    );
    return { descriptors };
  }

  it.each(bad)('is refused with $what', ({ stream }) => {
    const bytes = changedStream(stream);
    expect(() => translate(bytes, side)).toThrow(/^[A-Z].* record at byte \d+: .*\.$/);
    expect(() => translate(bytes)).toThrow(/^[A-Z].* record at byte \d+: .*\.$/);
  });

  it('is refused with pages of a mapping that the kernel makes', () => {
    const bytes = bytesOf(sample, {
      addressesIn: ({ start }) => (start === 0xf7fb_a000 ? Uint32Array.of(start) : new Uint32Array(0)),
      page: () => new Uint8Array(PAGE),
    });
    expect(() => translate(bytes, side)).toThrow('has pages');
  });

  it('leaves a thread that has not used the FPU without a state', () => {
    const cpu = Buffer.from(sample.cpu);
    cpu.writeUInt16LE(0, 266);
    const { model } = translate(changedStream({ cpu }), side);
    expect(decodeCpu(model.root.threads[0]?.cpu ?? Buffer.alloc(0), 'CPU').xstate.readBigUInt64LE(512)).toBe(0n);
  });

  it('has no more than the types of the records that it came from', () => {
    const types = new Set(recordsIn(bytesOf()).map(({ type }) => type));
    expect([...types].sort((a, b) => a - b)).toEqual(Object.values(CR_HDR).sort((a, b) => a - b));
    expect(CR_HEADER_SIZE).toBe(8);
  });
});
