/**
 * Every side effect of a save and of a restart fails once, and is once the place where the tool is killed (support/fault-point.ts). The
 * program proves its state after each, nothing of ours is left on the host, and what was said to have worked has lost nothing.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { beforeEach, expect, test } from 'vitest';
import { decodeCbor } from '../../src/image/cbor.ts';
import { RECORD } from '../../src/image/record-types.ts';
import { locksLeft } from '../support/connections.ts';
import {
  bringBack,
  type CommandResult,
  childrenOf,
  compiled,
  footprint,
  full,
  gone,
  isAlive,
  mustRun,
  newFolder,
  readIfThere,
  remember,
  run,
  said,
  saveAndEnd,
  start,
  type Target,
  waitFor,
} from '../support/harness.ts';
import { takeApart } from '../support/image-surgery.ts';

const program = compiled('proves-its-state');
const LIMIT_MS = full ? 4 * 3_600_000 : 120_000;
/** Of each walk, spread over it, where not all are walked. */
const SAMPLE = 6;

let folder: string;
let target: Target;

beforeEach(async () => {
  folder = newFolder();
  target = start(folder, program);
  await said(target.output, 'ready');
});

type Action = 'fail' | 'kill';

const withFault = (action: Action, at: number | string, args: readonly string[]): Promise<CommandResult> =>
  run(args, { env: { QUICKSAVE_FAULT: `${action}:${at}` } }).done;

/** All points that a command passes, by the names of their calls. */
async function listPoints(action: Action, args: readonly string[]): Promise<string[]> {
  const result = await withFault(action, 0, args);
  expect(result.status, result.stderr).toBe(0);
  const names = Array.from(result.stderr.matchAll(/^fault point \d+: (\S+)$/gm), ([, name]) => name ?? '');
  expect(names.length).toBeGreaterThan(SAMPLE);
  return names;
}

/**
 * Numbers of points. In the environment, for the long walk: QUICKSAVE_FAULT_FROM and QUICKSAVE_FAULT_TO, the first and the last of them,
 * and QUICKSAVE_FAULT_STRIDE, of so many the first only; so that a walk can be cut in pieces, and be taken up where it was cut off.
 */
function chosen(points: readonly string[]): number[] {
  if (!full) return Array.from({ length: SAMPLE }, (_, index) => Math.floor(((index + 0.5) * points.length) / SAMPLE));
  const [from, to, stride] = [given('FROM', 1), given('TO', points.length), given('STRIDE', 1)];
  const numbers = points.map((_, index) => index + 1);
  return numbers.filter((number) => number >= from && number <= to && (number - from) % stride === 0);
}

const given = (name: string, usual: number): number => Number(process.env[`QUICKSAVE_FAULT_${name}`] ?? usual);

/** The program tries and looks at all that it has. */
async function proves(what: string): Promise<void> {
  mkdirSync(join(folder, 'ask'));
  await waitFor(`the proof of the program after ${what}`, () => {
    const said = readIfThere(target.output) ?? '';
    if (said.includes('not ok')) throw new Error(`after ${what} it says: ${said}`);
    return !readdirSync(folder).includes('ask');
  });
}

/** Of what is half made nothing stays; what is whole proves itself. */
async function endsOrProves(what: string): Promise<void> {
  mkdirSync(join(folder, 'ask'));
  await waitFor(`the end or the proof of the program after ${what}`, () => {
    const isProven = !readdirSync(folder).includes('ask');
    return isProven || processesLeft().length === 0;
  });
  rmSync(join(folder, 'ask'), { recursive: true, force: true });
}

/** Processes of the program, and those that are half-made. */
function processesLeft(): number[] {
  const found = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return found.map(Number).filter((pid) => {
    try {
      const executable = readlinkSync(`/proc/${pid}/exe`);
      return executable === program || executable.startsWith('/memfd:quicksave');
    } catch {
      return false;
    }
  });
}

/** Ids of the segments that the program has made, and how often each is attached; others are others'. */
function segments(): { id: string; attached: number }[] {
  const lines = readFileSync('/proc/sysvipc/shm', 'utf8').split('\n').slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/));
  return fields.flatMap(([, id = '', , , creator, , attached]) =>
    Number(creator) === target.pid ? [{ id, attached: Number(attached) }] : [],
  );
}

/** What a host keeps when a process has ended. */
const hostState = (): unknown => ({ locks: locksLeft(), segments: segments() });

function expectSentence({ status, stderr }: CommandResult, what: string): void {
  expect(status, `${what}: ${stderr}`).toBe(1);
  expect(stderr, what).toMatch(/^quicksave: [A-Z].*\.$/m);
  expect(stderr, what).not.toContain('inside quicksave');
  expect(stderr, what).not.toMatch(/^ +at .*:\d+/m);
}

/** Pages, registers and clocks are what they happen to be at the instant of the save; so is how long a call has lasted. */
const momentary: ReadonlySet<number> = new Set([RECORD.HEAD, RECORD.PGARR, RECORD.CPU, RECORD.THREAD]);
const isMomentary = (field: string): boolean => /waitedNs|vdso data|(attached|detached|changed)At/.test(field);

/** All that an image says of the tree, field by field. */
function fieldsOf(image: string): Map<string, string> {
  const fields = new Map<string, string>();
  const note = (path: string, value: unknown): void => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) fields.set(path, inspect(value));
    else for (const [key, one] of Object.entries(value)) note(`${path} ${key}`, one);
  };
  const pieces = takeApart(readFileSync(image)).filter(({ type }) => !momentary.has(type));
  for (const [index, { type, objref, payload }] of pieces.entries()) {
    note(`record ${index} of type ${type}, object ${objref}:`, decodeCbor(payload));
  }
  return fields;
}

/** The fields that are the same in all these images. */
function constantIn(images: readonly Map<string, string>[]): Map<string, string> {
  const [first = new Map<string, string>(), ...others] = images;
  const isConstant = ([field, value]: [string, string]): boolean =>
    !isMomentary(field) && others.every((other) => other.get(field) === value);
  const constant = new Map([...first].filter(isConstant));
  expect(constant.size).toBeGreaterThan(500);
  return constant;
}

function expectConstant(image: string, constant: ReadonlyMap<string, string>, what: string): void {
  const found = fieldsOf(image);
  const changed = [...constant].filter(([field, value]) => found.get(field) !== value);
  const told = changed.map(([field, value]) => `${field} is ${found.get(field)}, not ${value}`);
  expect(told, `after ${what}, which was said to have worked`).toEqual([]);
}

/** With what differs, which vitest keeps apart. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { actual, expected } = error as { actual?: unknown; expected?: unknown };
  return actual === undefined
    ? error.message
    : `${error.message}: ${inspect(actual, { depth: 9 })} not ${inspect(expected, { depth: 9 })}`;
}

async function walk(points: readonly string[], visit: (at: number, name: string) => Promise<void>): Promise<void> {
  const faults: string[] = [];
  for (const at of chosen(points)) {
    const name = points[at - 1] ?? '';
    try {
      await visit(at, `point ${at}, ${name}`);
    } catch (error) {
      // The long walk tells of all that it finds, but a program that is harmed proves nothing more.
      faults.push(messageOf(error));
      if (full) console.error(faults.at(-1));
      if (!full || faults.length > 200) break;
    }
  }
  expect(faults).toEqual([]);
}

test('a save of which any step fails leaves the program and the host as they were', { timeout: LIMIT_MS }, async () => {
  const image = join(folder, 'image');
  const save = ['checkpoint', String(target.pid), '--output', image];
  const clean: Map<string, string>[] = [];
  for (let round = 0; round < 3; round++) {
    await mustRun(...save);
    clean.push(fieldsOf(image));
    await proves('a save');
  }
  const constant = constantIn(clean);
  const points = await listPoints('fail', save);
  const members = [target.pid, ...childrenOf(target.pid)];
  const before = {
    host: hostState(),
    prints: members.map(footprint),
    files: readdirSync(folder),
    members: processesLeft(),
  };
  await walk(points, async (at, what) => {
    const result = await withFault('fail', at, save);
    if (result.status === 0) expectConstant(image, constant, what);
    else expectSentence(result, what);
    await proves(what);
    const after = {
      host: hostState(),
      prints: members.map(footprint),
      files: readdirSync(folder),
      members: processesLeft(),
    };
    expect(after, what).toEqual(before);
  });
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
  expect(await target.ended).toEqual({ status: 0, signal: null });
});

test('a save that is killed at any step leaves the program as it was', { timeout: LIMIT_MS }, async () => {
  const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
  const points = await listPoints('kill', save);
  const members = [target.pid, ...childrenOf(target.pid)];
  const before = JSON.stringify({ host: hostState(), prints: members.map(footprint), members: processesLeft() });
  const isAsBefore = (): boolean =>
    JSON.stringify({ host: hostState(), prints: members.map(footprint), members: processesLeft() }) === before;
  await walk(points, async (at, what) => {
    const { signal, status } = await withFault('kill', at, save);
    // The last ones may have come earlier in another run.
    if (status !== 0) expect(signal, what).toBe('SIGKILL');
    await proves(what);
    await waitFor(`nothing of ours to be left after ${what}`, isAsBefore);
  });
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, 'ok');
});

test('a save that is killed while it writes to a vDSO, or takes that back, does not keep the next one out', async () => {
  const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
  const points = await listPoints('kill', save);
  const writes = points.flatMap((name, index) => (name === 'PTRACE_POKEDATA' ? [index + 1] : []));
  // The rehearsals come first, with a process of our own.
  const ofTree = writes.slice(writes.length / 2);
  expect(ofTree.length).toBeGreaterThan(100);
  const kills = 10;
  for (let kill = 0; kill < kills; kill++) {
    const at = ofTree[Math.floor(((kill + 0.5) * ofTree.length) / kills)] ?? 0;
    const { signal } = await withFault('kill', at, save);
    expect(signal).toBe('SIGKILL');
    await mustRun(...save);
  }
  await proves('the saves');
});

test('a save that cannot ring an agent, or not learn the numbers of its doorbell, leaves no descriptor in the program', async () => {
  const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
  const points = await listPoints('fail', save);
  const members = [target.pid, ...childrenOf(target.pid)];
  const before = members.map(footprint);
  const indexes = (wanted: string): number[] =>
    points.flatMap((name, index) => (name === wanted ? [index] : [])).slice(-members.length);
  const [firstDoorbell = 0] = indexes('socketpair');
  const rings = points.flatMap((name, index) => (name === 'sendto' && index > firstDoorbell ? [index + 1] : []));
  const readings = indexes('socketpair').map((index) => points.indexOf('process_vm_readv', index) + 1);
  expect(rings.length).toBeGreaterThan(members.length);
  expect(Math.min(...readings)).toBeGreaterThan(firstDoorbell);
  for (const at of [...readings, ...rings]) {
    await withFault('fail', at, save);
    expect(members.map(footprint), `after point ${at}, ${points[at - 1]}`).toEqual(before);
  }
  await proves('the saves');
});

test('a save that the disk refuses at its last steps says so in a sentence', async () => {
  const save = ['checkpoint', String(target.pid), '--output', join(folder, 'image')];
  // The file, then its folder; a name of its own, then that of the image.
  for (const at of ['1:fsyncSync', '2:fsyncSync', '1:linkat', '1:renameSync']) {
    const result = await withFault('fail', at, save);
    expect(result.stderr).toContain(`fault point ${at.replace(':', ': ')} fails`);
    expectSentence(result, at);
  }
  await proves('the saves');
});

/** Saves and ends the program. */
async function putAway(image: string): Promise<void> {
  await saveAndEnd(target.pid, image);
  await waitFor('the end of the tree', () => processesLeft().length === 0);
}

function removeSegments(): void {
  for (const { id } of segments()) execFileSync('ipcrm', ['-m', id]);
}

async function endTree(): Promise<void> {
  remember(target.pid);
  if (isAlive(target.pid)) process.kill(target.pid, 'SIGKILL');
  await gone(target.pid);
  await waitFor('the end of the tree', () => processesLeft().length === 0);
}

test('a restart of which any step fails leaves no process and no trace', { timeout: LIMIT_MS }, async () => {
  const image = join(folder, 'image');
  const again = join(folder, 'again');
  await putAway(image);
  const saved: Map<string, string>[] = [];
  for (let round = 0; round < 2; round++) {
    await bringBack(image);
    await proves('a restart');
    await mustRun('checkpoint', String(target.pid), '--output', again);
    saved.push(fieldsOf(again));
    await endTree();
  }
  const constant = constantIn(saved);
  const restart = ['restart', image, '--detach'];
  const points = await listPoints('fail', restart);
  await endTree();
  // The first restart has let the connections go, which the save with --kill holds.
  const before = { host: hostState(), files: readdirSync(folder) };
  await walk(points, async (at, what) => {
    try {
      const result = await withFault('fail', at, restart);
      if (result.status === 0) {
        await proves(what);
        await mustRun('checkpoint', String(target.pid), '--output', again);
        expectConstant(again, constant, what);
      } else {
        expectSentence(result, what);
        expect(processesLeft(), `processes after ${what}`).toEqual([]);
      }
    } finally {
      await endTree();
    }
    expect({ host: hostState(), files: readdirSync(folder) }, what).toEqual(before);
  });
});

test('a restart that is killed at any step leaves all of the tree or nothing', { timeout: LIMIT_MS }, async () => {
  const image = join(folder, 'image');
  await putAway(image);
  const restart = ['restart', image, '--detach'];
  const points = await listPoints('kill', restart);
  await endTree();
  const host = hostState();
  await walk(points, async (at, what) => {
    const { signal, status } = await withFault('kill', at, restart);
    if (status !== 0) expect(signal, what).toBe('SIGKILL');
    await endsOrProves(what);
    await endTree();
    // The kernel has no segment that ends with its maker: docs/limits.md.
    removeSegments();
    expect(hostState(), what).toEqual(host);
  });
});
