/** Images as another processor would have made them: its components of the floating point and vector state lie elsewhere. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type CpuState, decodeCpu, encodeCpu } from '../../src/arch/x86/records.ts';
import { relocated, type XstateLayout } from '../../src/arch/x86/xstate.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { bringBack, compiled, gone, mustRun, newFolder, quicksave, said, start } from '../support/harness.ts';
import { putTogether, takeApart } from '../support/image-surgery.ts';

const XSTATE_BV = 512;
/** APX, which has 16 more general registers: no processor here has it. */
const APX = 19;
const APX_SIZE = 128;

/** The components in the opposite order, with room between them, and one that this processor lacks in front. */
function otherLayout({ xcr0, components }: XstateLayout): XstateLayout {
  let offset = 576 + APX_SIZE;
  const moved = [...components].reverse().map((part) => {
    const place = { ...part, offset };
    offset += part.sizeBytes + 192;
    return place;
  });
  const apx = { index: APX, offset: 576, sizeBytes: APX_SIZE };
  return { xcr0: xcr0 | (1n << BigInt(APX)), sizeBytes: offset, components: [apx, ...moved] };
}

function asOnOtherProcessor(state: CpuState, usesApx: boolean): CpuState {
  const layout = otherLayout(state.layout);
  const xstate = relocated(state.xstate, state.layout, layout);
  if (usesApx) {
    xstate.writeBigUInt64LE(xstate.readBigUInt64LE(XSTATE_BV) | (1n << BigInt(APX)), XSTATE_BV);
    xstate.fill(0x77, 576, 576 + APX_SIZE);
  }
  return { ...state, xstate, layout };
}

async function savedElsewhere(
  program: string,
  usesApx: boolean,
): Promise<{ image: string; folder: string; output: string }> {
  const folder = newFolder();
  const target = start(folder, program);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  // Compressed pages may lie anywhere, whatever the size of the records before them.
  await mustRun('checkpoint', String(target.pid), '--output', image, '--compress', 'zstd', '--kill');
  await gone(target.pid);
  const pieces = takeApart(readFileSync(image)).map((piece) => {
    if (piece.type !== RECORD.CPU) return piece;
    return { ...piece, payload: encodeCpu(asOnOtherProcessor(decodeCpu(piece.payload, 'CPU record'), usesApx)) };
  });
  writeFileSync(image, putTogether(pieces));
  return { image, folder, output: target.output };
}

describe.each([
  { what: 'a 64-bit program', name: 'registers', flags: [] },
  { what: 'a 32-bit program', name: 'registers-i386', flags: ['-m32', '-no-pie'] },
])('the state of $what from another processor', ({ name, flags }) => {
  test('is moved to where this one has it; a component that it lacks and that is not in use does not matter', async () => {
    const { image, folder, output } = await savedElsewhere(compiled(name, flags), false);
    await bringBack(image);
    writeFileSync(join(folder, 'go'), '');
    await said(output, 'ok');
  });

  test('is refused by name where it uses a component that this one lacks', async () => {
    const { image } = await savedElsewhere(compiled(name, flags), true);
    const result = await quicksave('restart', image);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('It uses APX extended registers, which this processor does not have');
  });
});
