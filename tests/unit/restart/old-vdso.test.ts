import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readRegister } from '../../../src/arch/x86/registers.ts';
import type { MappingState, VdsoRecord } from '../../../src/image/tree.ts';
import { readMaps } from '../../../src/procfs/smaps.ts';
import type { KernelMemory } from '../../../src/restart/host.ts';
import { asPid } from '../../../src/support/brand.ts';
import { endOfSectionHeaders } from '../../../src/support/elf-extent.ts';
import { dynamicFunctions } from '../../../src/support/elf-symbols.ts';
import { RefusedError } from '../../../src/support/errors.ts';
import { readRemote } from '../../../src/tracee/remote-memory.ts';
import { isVdsoMapping } from '../../../src/tracee/vdso-data.ts';
import { errorOf } from '../image/streams.ts';
import { goodHost, type ModelChanges, mapping, mappings, modelWith, planOfOne, threadModel } from './models.ts';

const own = asPid(process.pid);
const special = readMaps(own).filter((entry) => isVdsoMapping(entry.special));
const vdsoEntry = special.find((entry) => entry.special === '[vdso]');
if (vdsoEntry === undefined) throw new Error('this process has no vDSO');
const whole = readRemote(own, vdsoEntry.start, vdsoEntry.end - vdsoEntry.start);
const image = Buffer.from(whole.subarray(0, endOfSectionHeaders(whole)));

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const kernelMemory: KernelMemory = {
  vdsoSha256: sha256(image),
  vdso: image,
  mappings: new Map(
    special.map(({ special: name = '', start, end }) => [name, { start: Number(start), sizeBytes: end - start }]),
  ),
};
const host = { ...goodHost, kernelMemory };

/** The same code of another kernel, which had only one page of data. */
const other = Buffer.from(image);
other.write('other', other.length - 8);
const VVAR = 0x7fff_0000_0000;
const VDSO = VVAR + 4096;
const VDSO_END = VDSO + (vdsoEntry.end - vdsoEntry.start);

const oldMappings: readonly MappingState[] = [
  ...mappings.slice(0, 2),
  mapping('kernel', VVAR, { name: '[vvar]' }, { end: VDSO, protection: 1 }),
  mapping('kernel', VDSO, { name: '[vdso]' }, { end: VDSO_END, protection: 5 }),
  mapping('anonymous', VDSO_END + 0x100_0000, { name: '' }),
];

const clock = Buffer.alloc(16);
clock.writeUInt32LE(8, 0);
clock.writeInt32LE(1, 4);
clock.writeBigUInt64LE(99n, 8);

function changesOf(vdso: Partial<VdsoRecord> = {}, changes: ModelChanges = {}): ModelChanges {
  const { task } = modelWith().root;
  const saved = { sha256: sha256(vdso.image ?? other), image: other, data: [{ address: VVAR, bytes: clock }], ...vdso };
  return { task: { ...task, vdso: saved }, mappings: oldMappings, ...changes };
}

const planOf = (vdso?: Partial<VdsoRecord>, changes?: ModelChanges): ReturnType<typeof planOfOne> =>
  planOfOne(modelWith(changesOf(vdso, changes)), host);

const offsetOf = (wanted: string): number =>
  dynamicFunctions(image)?.find(({ name }) => name === wanted)?.offset ?? Number.NaN;
const GETTIME = offsetOf('__vdso_clock_gettime');

const bytesAt = (plan: ReturnType<typeof planOfOne>, start: number): Buffer | undefined =>
  plan.mappings.find(({ state }) => state.start === start)?.bytes;

describe('the vDSO of another kernel', () => {
  it('becomes memory of the program with jumps, its data with clocks that stand', () => {
    const plan = planOf();
    const code = plan.mappings.find(({ state }) => state.start === VDSO);
    expect(code).toMatchObject({ state: { end: VDSO_END, protection: 5, kind: '' }, made: { file: 0 } });
    expect(code?.bytes?.[GETTIME]).toBe(0xe9);
    expect(code?.bytes?.subarray(0, 64)).toEqual(image.subarray(0, 64));
    expect(bytesAt(plan, VVAR)?.subarray(0, 8)).toEqual(Buffer.from('0a00000000000000', 'hex'));
    expect(plan.mappings.every(({ made }) => made !== undefined)).toBe(true);
    expect(plan.remarks[0]).toMatch(/^calls into the vDSO of kernel 6\.18\.0 now lead to that of this kernel$/);
  });

  it('leaves a free place near it to that of this kernel, whose parts keep their distances', () => {
    const { kernelPlaces } = planOf();
    const place = kernelPlaces.get('[vdso]')?.start ?? 0;
    for (const [name, { start, sizeBytes }] of kernelMemory.mappings) {
      const found = kernelPlaces.get(name);
      expect([name, (found?.start ?? 0) - place]).toEqual([name, start - vdsoEntry.start]);
      expect((found?.end ?? 0) - (found?.start ?? 0)).toBe(sizeBytes);
      const isFree = oldMappings.every(
        ({ start: from, end }) => (found?.end ?? 0) <= from || end <= (found?.start ?? 0),
      );
      expect(isFree).toBe(true);
    }
    expect(Math.abs(place - VDSO)).toBeLessThan(2 ** 31);
  });

  it('is also one that has other mappings with the same code', () => {
    expect(planOf({ image, sha256: sha256(image) }).oldVdso).toBeDefined();
  });

  it('lets a thread go on in it, at a jump too', () => {
    for (const offset of [0, 5, 40]) {
      const thread = threadModel({ registers: { rip: BigInt(VDSO + GETTIME + offset) } });
      const plan = planOf({}, { threads: [thread] });
      const cpu = plan.threads[0]?.cpu.registers;
      if (cpu === undefined) throw new Error('the plan has no thread');
      expect(plan.oldVdso?.adapted(cpu, () => 0)).toEqual(cpu);
    }
  });

  it('has an unchanged copy for a thread that stands where a jump is now, call and restarted call included', () => {
    const rips = [
      { rip: GETTIME + 1, orig_rax: 2n ** 64n - 1n },
      { rip: GETTIME + 6, orig_rax: 228n },
    ];
    for (const { rip, orig_rax } of rips) {
      const plan = planOf({}, { threads: [threadModel({ registers: { rip: BigInt(VDSO + rip), orig_rax } })] });
      const cpu = plan.threads[0]?.cpu.registers;
      if (cpu === undefined) throw new Error('the plan has no thread');
      const adapted = plan.oldVdso?.adapted(cpu, () => 0) ?? cpu;
      const copy = Number(readRegister(adapted, 'rip')) - rip;
      expect(copy).not.toBe(VDSO);
      expect(bytesAt(plan, copy)).toEqual(other);
      expect(bytesAt(plan, copy - 4096)).toEqual(bytesAt(plan, VVAR));
    }
  });
});

describe('frames of signal handlers', () => {
  const plan = planOf();
  const copy = plan.oldVdso?.memory.filter(({ name }) => name === '[vdso]')[1]?.start ?? 0;

  it('lead to the copy where they led into a jump, and nowhere else otherwise', () => {
    const addresses = [GETTIME, GETTIME + 1, GETTIME + 4, GETTIME + 5].map((offset) => BigInt(VDSO + offset));
    const stack = Buffer.from(new BigUint64Array([0n, ...addresses, 2n ** 64n - 1n]).buffer);
    expect(plan.oldVdso?.adaptFrames(stack)).toBe(true);
    expect([...new BigUint64Array(new Uint8Array(stack).buffer)]).toEqual([
      0n,
      BigInt(VDSO + GETTIME),
      BigInt(copy + GETTIME + 1),
      BigInt(copy + GETTIME + 4),
      BigInt(VDSO + GETTIME + 5),
      2n ** 64n - 1n,
    ]);
  });

  it('that lead elsewhere stay as they are', () => {
    const stack = Buffer.from(new BigUint64Array([BigInt(VDSO), BigInt(VDSO + GETTIME)]).buffer);
    const before = Buffer.from(stack);
    expect(plan.oldVdso?.adaptFrames(stack)).toBe(false);
    expect(stack).toEqual(before);
  });
});

describe('the vDSO of another kernel is refused', () => {
  const problemOf = (vdso: Partial<VdsoRecord>, changes?: ModelChanges): string => {
    const error = errorOf(() => planOf(vdso, changes));
    if (!(error instanceof RefusedError)) throw error;
    expect(error.problems.map(({ code }) => code)).toEqual(['other-vdso']);
    return error.problems[0]?.message ?? '';
  };
  const standing = { threads: [threadModel({ registers: { rip: BigInt(VDSO + GETTIME + 40) } })] };

  it('if the image does not have it', () => {
    const { task } = modelWith().root;
    const vdso = { sha256: sha256(other), data: [] };
    const error = errorOf(() => planOfOne(modelWith({ task: { ...task, vdso }, mappings: oldMappings }), host));
    expect((error as RefusedError).problems[0]?.message).toMatch(/the image does not have it/);
  });

  it('if it is none', () => {
    const zeros = Buffer.alloc(4096);
    expect(problemOf({ image: zeros })).toMatch(/has no functions/);
  });

  it('if there is no room near it', () => {
    const huge = mapping('anonymous', 0x10_0000, { name: '' }, { end: VVAR });
    const above = mapping('anonymous', VDSO_END, { name: '' }, { end: 2 ** 47 - 4096 });
    const full = [huge, ...oldMappings.slice(2, 4), above];
    expect(problemOf({}, { mappings: full })).toMatch(/no room near it/);
  });

  it('if a thread stands in it whose data is of no known form', () => {
    expect(problemOf({ data: [] }, standing)).toMatch(/of a form that is not known/);
    expect(planOf({ data: [] }).oldVdso).toBeDefined();
  });

  const lies: [string, Partial<VdsoRecord>, ModelChanges, RegExp][] = [
    ['whose digest is another', { sha256: 'beef' }, {}, /SHA-256/],
    ['that is larger than its mapping', { image: Buffer.alloc(0x1_0000) }, {}, /larger than its mapping/],
    ['with data where it has none', { data: [{ address: VDSO, bytes: clock }] }, {}, /data outside/],
    [
      'with mappings far apart',
      {},
      { mappings: [mapping('kernel', 0x20_0000, { name: '[vvar_vclock]' }), ...oldMappings] },
      /mappings that no kernel makes/,
    ],
    [
      'with a mapping of another name',
      {},
      { mappings: [...oldMappings, mapping('kernel', VDSO_END + 0x200_0000, { name: '[stack]' })] },
      /mappings that no kernel makes/,
    ],
  ];
  it.each(lies)('as an image that no save makes, %s', (_, vdso, changes, sentence) => {
    expect(errorOf(() => planOf(vdso, changes)).message).toMatch(sentence);
  });
});
