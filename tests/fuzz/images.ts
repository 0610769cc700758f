/** Images with fields, records and bytes changed, and every checksum and digest made anew, as one who forges an image would. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeCbor, encodeCbor } from '../../src/image/cbor.ts';
import { openInput } from '../../src/image/image-source.ts';
import { isCborRecord, RECORD } from '../../src/image/record-types.ts';
import { readImage } from '../../src/pages/open-image.ts';
import { PageCrew } from '../../src/pages/page-crew.ts';
import { inspectImage } from '../../src/report/inspect.ts';
import { renderInspection } from '../../src/report/render-inspection.ts';
import { verifyImageAt } from '../../src/report/verify.ts';
import { planRestart } from '../../src/restart/plan.ts';
import { crc32c } from '../../src/support/checksum.ts';
import { type Piece, putTogether, takeApart } from '../support/image-surgery.ts';
import { MemorySource } from '../unit/image/streams.ts';
import { goodHost } from '../unit/restart/models.ts';
import type { Random } from './random.ts';
import { mutateBytes, type Subject } from './subject.ts';

const golden = new URL('../images/golden', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'quicksave-fuzz-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
const path = join(scratch, 'image');

export const images: Subject = {
  name: 'image',
  seeds: ['v1-zstd.qs', 'v1-tree.qs'].map((name) => readFileSync(join(golden, name))),
  mutate: (seed, random) => putTogether(mutatePieces(piecesOf(seed), random)),
  readers: [
    (input) => void inspectImage(new MemorySource(input)),
    (input) => void verifyImageAt(atPath(input)),
    (input) => planFile(atPath(input)),
    (input) => void renderInspection(inspectImage(new MemorySource(cutSomewhere(input)), { showsCut: true })),
  ],
};

/** Where is decided by what is in it, so that the same input is the same subject. */
const cutSomewhere = (input: Buffer): Buffer =>
  input.subarray(0, input.length === 0 ? 0 : crc32c(input) % input.length);

const taken = new Map<Buffer, Piece[]>();

function piecesOf(seed: Buffer): Piece[] {
  const pieces = taken.get(seed) ?? takeApart(seed);
  taken.set(seed, pieces);
  return pieces;
}

function atPath(input: Buffer): string {
  writeFileSync(path, input);
  return path;
}

/** As far as a restart goes before it makes anything. */
function planFile(source: string): void {
  const opened = openInput(source);
  const crew = new PageCrew(0, () => {
    // Nobody watches.
  });
  try {
    const input = readImage(opened, crew);
    try {
      planRestart(input.model, { ...goodHost, acceptChangedFiles: true });
    } finally {
      input.close();
    }
  } finally {
    opened.close();
    crew.dismiss();
  }
}

function mutatePieces(pieces: readonly Piece[], random: Random): Piece[] {
  const changed = [...pieces];
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const index = random.below(changed.length);
    const piece = changed[index];
    if (piece === undefined) break;
    // Mostly fields: what is left out or exchanged is soon found.
    const way = random.below(16);
    if (way === 0) changed.splice(index, 1);
    else if (way === 1) changed.splice(random.below(changed.length), 0, piece);
    else if (way === 2) changed[index] = { ...piece, objref: random.oneOf(changed).objref };
    else if (way === 3) changed[index] = { ...piece, type: random.oneOf(changed).type };
    else if (way === 4) changed[index] = { ...piece, payload: random.oneOf(changed).payload };
    else changed[index] = mutatePayload(piece, random);
  }
  return changed;
}

function mutatePayload(piece: Piece, random: Random): Piece {
  const state = isCborRecord(piece.type) && random.below(8) > 0 ? tryDecode(piece.payload) : undefined;
  if (state !== undefined) {
    const payload = withoutPlaceholders(Buffer.from(encodeCbor(mutateValue(state, random))));
    return { ...piece, payload };
  }
  // Behind the head of a chunk there is nothing but pages.
  const end = piece.type === RECORD.PGARR ? Math.min(piece.payload.length, 128) : piece.payload.length;
  const changed = sameLength(piece.payload.subarray(0, end), random);
  return { ...piece, payload: Buffer.concat([changed, piece.payload.subarray(end)]) };
}

/** Undefined for what an earlier change has made unreadable. */
function tryDecode(payload: Buffer): unknown {
  try {
    return decodeCbor(payload);
  } catch {
    return undefined;
  }
}

function sameLength(bytes: Buffer, random: Random): Buffer {
  if (random.below(4) === 0) return mutateBytes(bytes, random);
  const changed = Buffer.from(bytes);
  for (let changes = 1 + random.below(3); changes > 0 && changed.length > 0; changes--) {
    changed[random.below(changed.length)] = random.oneOf([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
  }
  return changed;
}

/** The encoder makes no such key; a forger would. */
const PLACEHOLDER = 'proto-key';
const FORGED = '__proto__';

function withoutPlaceholders(payload: Buffer): Buffer {
  for (let at = payload.indexOf(PLACEHOLDER); at >= 0; at = payload.indexOf(PLACEHOLDER)) payload.write(FORGED, at);
  return payload;
}

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** One field somewhere in it is changed: the deeper ones are as likely as the others. */
function mutateValue(value: unknown, random: Random): unknown {
  if (Array.isArray(value) && value.length > 0 && random.below(8) > 0) {
    const index = random.below(value.length);
    const way = random.below(8);
    if (way === 0) return value.filter((_, other) => other !== index);
    if (way === 1) return [...value, value[index]];
    if (way === 2) return [...value].reverse();
    return value.map((one, other) => (other === index ? mutateValue(one, random) : one));
  }
  if (isFields(value) && Object.keys(value).length > 0 && random.below(8) > 0) {
    const key = random.oneOf(Object.keys(value));
    const way = random.below(16);
    if (way === 0) return Object.fromEntries(Object.entries(value).filter(([other]) => other !== key));
    if (way === 1) return { ...value, [random.oneOf([PLACEHOLDER, 'constructor', 'length', 'x', ''])]: value[key] };
    if (way === 2) return { ...value, [key]: value[random.oneOf(Object.keys(value))] };
    return { ...value, [key]: mutateValue(value[key], random) };
  }
  return otherThan(value, random);
}

const numbers = [0, 1, -1, 2, 3, 4095, 4096, 2 ** 16, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47, 2 ** 53 - 1, 0.5];
const bigints = [0n, 1n, -1n, 2n ** 47n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
const texts = [
  '',
  '/',
  '..',
  '/proc/self/mem',
  '/dev/null',
  'a\0b',
  '[vdso]',
  'x'.repeat(5000),
  '__proto__',
  '/proc/1/fd/0',
];

function otherThan(value: unknown, random: Random): unknown {
  const near =
    typeof value === 'number'
      ? [value + 1, value - 1, value * 2, value + 4096, -value, value ^ (1 << random.below(31))]
      : [];
  const sameKind: unknown[] =
    typeof value === 'number' || typeof value === 'bigint'
      ? [...near, ...numbers, ...bigints]
      : typeof value === 'string'
        ? [...texts, `${value}x`, value.slice(1), value.toUpperCase()]
        : ArrayBuffer.isView(value)
          ? [Buffer.alloc(0), mutateBytes(Buffer.from(value as Uint8Array), random), Buffer.alloc(70_000, 0xff)]
          : [!value];
  return random.below(4) > 0
    ? random.oneOf(sameKind)
    : random.oneOf([null, true, 7, 2n ** 60n, 'text', [], {}, Buffer.from([1]), [[[]]]]);
}
