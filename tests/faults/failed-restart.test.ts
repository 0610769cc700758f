/** A restart that fails when all threads are made already: it says why, and nothing of the process is left. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { compiled, gone, isAlive, mustRun, newFolder, quicksave, said, start } from '../support/harness.ts';
import { type Piece, putTogether, takeApart } from '../support/image-surgery.ts';

/** No kernel has this policy (set_mempolicy(2)). It is set in each thread, after they have been made. */
const NO_POLICY = 0x7fff;

function withOddPolicy(piece: Piece, tid: number): Piece {
  if (piece.type !== RECORD.THREAD_STATE || piece.objref !== tid) return piece;
  const state = decodeCbor(piece.payload) as { aspects: Record<string, unknown> };
  const aspects = { ...state.aspects, memoryPolicy: { mode: NO_POLICY, nodes: Buffer.from([1]) } };
  return { ...piece, payload: Buffer.from(encodeCbor({ ...state, aspects })) };
}

test('a restart that fails late ends all threads that it has made, and says why', async () => {
  const folder = newFolder();
  const target = start(folder, compiled('busy-threads'));
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  // Compressed pages need not lie at the start of a page of the file, whatever the size of the records before.
  await mustRun('checkpoint', String(target.pid), '--output', image, '--compress', 'zstd', '--kill');
  await gone(target.pid);
  const pieces = takeApart(readFileSync(image));
  const tids = pieces.filter(({ type }) => type === RECORD.THREAD_STATE).map(({ objref }) => objref);
  for (const tid of [tids[0] ?? 0, tids.at(-1) ?? 0]) {
    writeFileSync(image, putTogether(pieces.map((piece) => withOddPolicy(piece, tid))));
    const result = await quicksave('restart', image);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/memory policy/);
    expect(isAlive(target.pid)).toBe(false);
  }
});
