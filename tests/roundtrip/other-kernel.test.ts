/** Images whose vDSO is not this kernel's: calls into the old one reach the new one. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type RegisterFile, readRegister, withRegisters } from '../../src/arch/x86/registers.ts';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { dynamicFunctions } from '../../src/support/elf-symbols.ts';
import {
  bringBack,
  type CommandResult,
  compiled,
  gone,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  remember,
  said,
  start,
  waitFor,
} from '../support/harness.ts';
import {
  ofAnotherKernel,
  putTogether,
  type SavedVdso,
  takeApart,
  vdsoOf,
  withCpu,
  withVdso,
} from '../support/image-surgery.ts';

const CYCLES = 3;

const verdict = (output: string): Promise<string> =>
  waitFor(`a verdict in ${output}`, () => /^(ok|not ok.*)$/m.exec(readIfThere(output) ?? '')?.[0]);

/** Compressed, because where a record stands does not matter then: it may get another length. */
async function saveAndEnd(pid: number, image: string): Promise<void> {
  await mustRun('checkpoint', String(pid), '--output', image, '--compress', 'zstd', '--kill');
  await gone(pid);
}

/** Restarts in the background and returns what the command said. */
async function broughtBack(image: string): Promise<CommandResult> {
  const result = await mustRun('restart', image, '--detach');
  remember(Number(result.stdout.toString().trim()));
  return result;
}

describe.each([
  { what: 'a 64-bit program', flags: [] },
  { what: 'a 32-bit program', flags: ['-m32'] },
])('the vDSO of another kernel in $what', ({ flags }) => {
  test('is called, and stood in by threads and handlers, through three kernels and back here', async () => {
    const folder = newFolder();
    const target = start(folder, compiled('vdso-callers', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      await saveAndEnd(target.pid, image);
      writeFileSync(image, withVdso(readFileSync(image), ofAnotherKernel));
      const { stderr } = await broughtBack(image);
      expect(stderr).toMatch(/calls into the vDSO of kernel \S+ now lead to that of this kernel/);
    }
    await saveAndEnd(target.pid, image);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
  });

  test('leads a handler back that has interrupted its first bytes', async () => {
    const folder = newFolder();
    const target = start(folder, compiled('vdso-frame', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      await saveAndEnd(target.pid, image);
      writeFileSync(image, withVdso(readFileSync(image), ofAnotherKernel));
      await bringBack(image);
    }
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
  });
});

/** How many bytes of the function are behind a thread, and what that has done to its registers. */
const standings: readonly { flags: string[]; offset: number; moved: (registers: RegisterFile) => RegisterFile }[] = [
  { flags: [], offset: 1, moved: (registers) => registers },
  { flags: [], offset: 4, moved: (file) => withRegisters(file, { rbp: readRegister(file, 'rsp') }) },
  ...[0, 1, 2, 3].map((pushed) => ({
    flags: ['-m32', '-no-pie'],
    offset: pushed,
    moved: (file: RegisterFile) => withRegisters(file, { rsp: readRegister(file, 'rsp') + BigInt(4 * (3 - pushed)) }),
  })),
  { flags: ['-m32', '-no-pie'], offset: 5, moved: (file) => withRegisters(file, { rbp: 0xdeadn }) },
];

/** What the functions begin with on the kernels that these tests know: push rbp; mov rbp, rsp, or the three pushes. */
const BEGINNINGS = [Buffer.from('554889e5', 'hex'), Buffer.from('515255', 'hex')];

describe.each(standings)('a thread $offset bytes into a function ($flags)', ({ flags, offset, moved }) => {
  test.for([
    { kernel: 'this kernel', change: (vdso: SavedVdso) => vdso },
    { kernel: 'another kernel', change: ofAnotherKernel },
  ])('of the vDSO of $kernel comes to its end', async ({ change }, { skip }) => {
    const folder = newFolder();
    const target = start(folder, compiled('vdso-entry', flags));
    await said(target.output, 'ready');
    const tid = Number(/thread (\d+)/.exec(readFileSync(target.output, 'utf8'))?.[1]);
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    const saved = readFileSync(image);
    const name = flags.length === 0 ? '__vdso_clock_gettime' : '__kernel_vsyscall';
    const { address, code } = functionOf(saved, name);
    if (!BEGINNINGS.some((bytes) => code.subarray(0, bytes.length).equals(bytes))) {
      skip(`${name} of this kernel begins otherwise`);
    }
    const standing = withCpu(saved, tid, (cpu) => ({
      ...cpu,
      registers: withRegisters(moved(cpu.registers), { rip: address + offset }),
    }));
    writeFileSync(image, withVdso(standing, change));
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
  });
});

/** A function of the vDSO in an image. */
function functionOf(image: Buffer, wanted: string): { address: number; code: Buffer } {
  const vdso = vdsoOf(image);
  const found = dynamicFunctions(vdso.image)?.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`the vDSO has no ${wanted}`);
  return { address: vdso.start + found.offset, code: vdso.image.subarray(found.offset) };
}

/** A shared object in one piece, as a vDSO is. */
const asVdso = ['-z,noseparate-code', '-z,max-page-size=4096', '-z,norelro', '--hash-style=both'];
function otherVdso(image: Buffer, flags: readonly string[]): Buffer {
  const linking = ['-shared', '-nostdlib', '-fPIC', '-s', ...asVdso.map((flag) => `-Wl,${flag}`)];
  if (flags.length > 0) {
    const { address } = functionOf(image, '__kernel_vsyscall');
    const offset = (address - vdsoOf(image).start).toString(16);
    linking.push(`-Wl,--section-start=.entry=0x${offset},--section-start=.text=0x1000`);
  }
  return readFileSync(compiled('other-vdso', [...flags, ...linking]));
}

describe.each([
  { what: 'a 64-bit program', flags: [], calls: 6 },
  { what: 'a 32-bit program', flags: ['-m32'], calls: 8 },
])('a vDSO with other functions at other places in $what', ({ flags, calls }) => {
  test('leads to those of this kernel, function by function, through three of them', async () => {
    const folder = newFolder();
    const target = start(folder, compiled('vdso-symbols', flags));
    await said(target.output, 'ready');
    const image = join(folder, 'image');
    await saveAndEnd(target.pid, image);
    const saved = readFileSync(image);
    const other = otherVdso(saved, flags);
    writeFileSync(
      image,
      withVdso(saved, ({ data }) => ({ image: other, data })),
    );
    const { stderr } = await broughtBack(image);
    expect(stderr).toMatch(/this one lacks .*__vdso_of_the_future/);
    for (let cycle = 1; cycle < CYCLES; cycle++) {
      await saveAndEnd(target.pid, image);
      writeFileSync(image, withVdso(readFileSync(image), ofAnotherKernel));
      await bringBack(image);
    }
    writeFileSync(join(folder, 'go'), '');
    expect(await verdict(target.output)).toBe('ok');
    expect(readFileSync(target.output, 'utf8')).toContain(`${calls} calls\n`);
  });
});

test('an image without the vDSO itself is refused on another kernel', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('vdso-symbols'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  const pieces = takeApart(readFileSync(image)).map((piece) => {
    if (piece.type !== RECORD.TASK) return piece;
    const task = decodeCbor(piece.payload) as Record<string, unknown>;
    return { ...piece, payload: Buffer.from(encodeCbor({ ...task, vdso: { sha256: '0'.repeat(64) } })) };
  });
  writeFileSync(image, putTogether(pieces));
  const { status, stderr } = await quicksave('restart', image, '--detach');
  expect(stderr).toMatch(/whose vDSO is not the one of this kernel, and the image does not have it/);
  expect(status).toBe(1);
  expect(readIfThere(`/proc/${target.pid}/stat`)).toBeUndefined();
});
