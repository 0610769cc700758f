/**
 * Another kernel's vDSO. The program knows the addresses of its functions and calls them for as long as it lives, threads
 * may stand in it, and frames of signal handlers may lead back into it. So its code and its data become memory of the program, at
 * their old addresses; each function begins with a jump to the one of this kernel, whose own vDSO goes to a free place.
 *
 * Code in the middle of a function goes on in the old code. The clocks that it reads there are marked as not readable
 * (arch/x86/vdso-clock.ts), so that it makes the system call in the end. A thread, or a frame, that stands in the very bytes that the
 * jump takes goes on in a second, unchanged copy.
 *
 * The next save sees ordinary memory and a vDSO of the kernel at another address, and needs to know nothing of this.
 */
import { createHash } from 'node:crypto';
import { inSyscall, type RegisterFile, readRegister, withRegisters } from '../arch/x86/registers.ts';
import { stopClocks } from '../arch/x86/vdso-clock.ts';
import { type EntryForCalls, type Redirection, redirect } from '../arch/x86/vdso-redirect.ts';
import type { ProcessModel } from '../image/process-model.ts';
import { PAGE_SIZE } from '../image/schema.ts';
import type { MappingState, TaskRecord, VdsoRecord } from '../image/tree.ts';
import { ImageError, type Problem } from '../support/errors.ts';
import { findHoleNear, type Span } from '../tracee/address-space.ts';
import { isVdsoMapping } from '../tracee/vdso-data.ts';
import type { KernelMemory } from './host.ts';

/** Memory of the program that takes the place of a mapping of the other kernel. */
export interface OldMemory extends Span {
  readonly name: string;
  readonly protection: number;
  readonly bytes: Buffer;
}

export interface OldVdso {
  readonly memory: readonly OldMemory[];
  /** Where this kernel's own mappings go, by name. */
  readonly places: ReadonlyMap<string, Span>;
  /** Registers with which a thread goes on. `wordAt` reads 32 bits of the process. */
  readonly adapted: (registers: RegisterFile, wordAt: (address: number) => number) => RegisterFile;
  /** Changes frames of signal handlers in a part of a stack; true if there was one to change. */
  readonly adaptFrames: (stack: Buffer) => boolean;
  readonly remark: string;
}

export interface OldVdsoRequest {
  readonly process: ProcessModel;
  /** Of the kernel that the image was made on. */
  readonly release: string;
  readonly kernelMemory: KernelMemory;
  readonly is32Bit: boolean;
  readonly registers: readonly RegisterFile[];
  readonly problems: Problem[];
}

interface Named {
  readonly name: string;
  readonly state: MappingState;
}

const VDSO = '[vdso]';
const READ = 1;
const READ_EXECUTE = 5;
/** A jump reaches 2 GiB to either side; what it leads from and to is small. */
const REACH = 2 ** 31 - 2 ** 24;
const MAX_SPAN = 2 ** 20;

/** True if the kernel's mappings can be moved to the places that they had in the image. */
export function isSameVdso({ vdso }: TaskRecord, mappings: readonly Named[], now: KernelMemory): boolean {
  return (
    vdso.sha256 === now.vdsoSha256 &&
    mappings.every(({ name, state }) => now.mappings.get(name)?.sizeBytes === state.end - state.start)
  );
}

/** Undefined if something stands in the way, which is then among the problems. */
export function planOldVdso(request: OldVdsoRequest, mappings: readonly Named[]): OldVdso | undefined {
  const { process, release, kernelMemory, is32Bit, problems } = request;
  const { vdso } = process.task;
  const refuse = (reason: string): undefined => {
    const message = `The image was made on kernel ${release}, whose vDSO is not the one of this kernel${reason}.`;
    problems.push({
      code: 'other-vdso',
      path: ['host'],
      message,
      remedy: 'Restart it on a host with the same kernel.',
    });
  };
  if (vdso.image === undefined) return refuse(', and the image does not have it');
  const code = checkedCode(vdso, vdso.image, mappings);
  const places = findPlaces(code.state, mappings, request);
  if (places === undefined) return refuse(', and there is no room near it for that one');
  const old = { image: Buffer.from(vdso.image), start: code.state.start };
  const redirection = redirect(old, { image: kernelMemory.vdso, start: places.kernel.get(VDSO)?.start ?? 0 }, is32Bit);
  if (redirection === undefined) return refuse(', and one of the two has no functions');
  if (redirection.unchangeable.length > 0) {
    return refuse(`: there is no room for a jump in ${redirection.unchangeable.join(', ')}`);
  }
  const { data, isKnown } = stoppedData(vdso, mappings);
  if (!isKnown && request.registers.some((file) => isWithin(code.state, file))) {
    return refuse(', and a thread stands in it, whose data is of a form that is not known');
  }
  const changed = Buffer.from(old.image);
  for (const { start, bytes } of redirection.changes) changed.set(bytes, start);
  const memory = [...data, oldMemory(code, READ_EXECUTE, changed)];
  const standing = { base: old.start, redirection, toCopy: places.copy - places.span.start };
  for (const one of [...data, oldMemory(code, READ_EXECUTE, old.image)]) {
    memory.push({ ...one, start: one.start + standing.toCopy, end: one.end + standing.toCopy });
  }
  return {
    memory,
    places: places.kernel,
    adapted: (file, wordAt) => adaptedRegisters(file, standing, wordAt),
    adaptFrames: (stack) => adaptFrames(stack, standing, is32Bit ? WORD_32 : WORD_64),
    remark: remarkOn(release, redirection),
  };
}

const oldMemory = ({ name, state: { start, end } }: Named, protection: number, bytes: Buffer): OldMemory => ({
  name,
  start,
  end,
  protection,
  bytes,
});

/** The mapping of the code; the image's claims about it are checked. */
function checkedCode(vdso: VdsoRecord, image: Uint8Array, mappings: readonly Named[]): Named {
  const wrong = (what: string): ImageError => new ImageError('bad-record', `TASK record: vdso ${what}.`);
  const code = mappings.find(({ name }) => name === VDSO);
  if (code === undefined || code.state.end - code.state.start < image.length) throw wrong('is larger than its mapping');
  if (createHash('sha256').update(image).digest('hex') !== vdso.sha256) throw wrong('has not the SHA-256 that it says');
  const { start, end } = spanOf(mappings);
  if (end - start > MAX_SPAN || !mappings.every(({ name }) => isVdsoMapping(name))) {
    throw wrong('has mappings that no kernel makes');
  }
  const isData = (address: number): boolean =>
    mappings.some(({ name, state }) => name !== VDSO && state.start <= address && address < state.end);
  if (!vdso.data.every(({ address }) => isData(address))) throw wrong('has data outside of its mappings');
  return code;
}

const spanOf = (mappings: readonly Named[]): Span => ({
  start: Math.min(...mappings.map(({ state }) => state.start)),
  end: Math.max(...mappings.map(({ state }) => state.end)),
});

interface Places {
  readonly kernel: ReadonlyMap<string, Span>;
  /** The old mappings, from the first to the last. */
  readonly span: Span;
  /** Where a copy of them would go. */
  readonly copy: number;
}

/** One stretch with room for a copy of the old mappings and for those of this kernel, which keep their distances. */
function findPlaces(
  near: Span,
  mappings: readonly Named[],
  { process, kernelMemory }: OldVdsoRequest,
): Places | undefined {
  const own = [...kernelMemory.mappings].filter(([name]) => isVdsoMapping(name));
  const first = Math.min(...own.map(([, { start }]) => start));
  const last = Math.max(...own.map(([, { start, sizeBytes }]) => start + sizeBytes));
  const span = spanOf(mappings);
  const copyBytes = span.end - span.start;
  const hole = findHoleNear(process.mappings.map(asTaken), last - first + copyBytes, near.start, REACH);
  if (hole === undefined || !kernelMemory.mappings.has(VDSO)) return undefined;
  const kernel = new Map(
    own.map(([name, { start, sizeBytes }]) => {
      const place = hole + copyBytes + start - first;
      return [name, { start: place, end: place + sizeBytes }];
    }),
  );
  return { kernel, span, copy: hole };
}

/** What may grow downwards keeps what is below it. */
const asTaken = ({ start, end, flags }: MappingState): Span & { growsDown: boolean } => ({
  start,
  end,
  growsDown: flags.includes('gd'),
});

/** The data of the old vDSO as memory of the program, its clocks stopped. */
function stoppedData({ data }: VdsoRecord, mappings: readonly Named[]): { data: OldMemory[]; isKnown: boolean } {
  const memory = mappings
    .filter(({ name }) => name !== VDSO)
    .map((one) => {
      const bytes = Buffer.alloc(one.state.end - one.state.start);
      for (const page of data) {
        if (one.state.start <= page.address && page.address < one.state.end)
          bytes.set(page.bytes, page.address - one.state.start);
      }
      return oldMemory(one, READ, bytes);
    });
  const stopped = memory.flatMap(({ bytes }) =>
    Array.from({ length: bytes.length / PAGE_SIZE }, (_, index) =>
      stopClocks(bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE)),
    ),
  );
  return { data: memory, isKnown: stopped.includes(true) };
}

const isWithin = ({ start, end }: Span, file: RegisterFile): boolean => {
  const rip = Number(readRegister(file, 'rip'));
  return start <= rip && rip < end && !inSyscall(file);
};

interface Standing {
  /** Of the old code. */
  readonly base: number;
  readonly redirection: Redirection;
  /** Distance from the old mappings to their copy. */
  readonly toCopy: number;
}

const SYSCALL_LENGTH = 2;

/** Between the beginning and the end of what was changed; the beginning itself is the jump. */
function standsInChange(file: RegisterFile, { base, redirection }: Standing): boolean {
  const offset = Number(readRegister(file, 'rip')) - base;
  const { changes, entryForCalls } = redirection;
  if (entryForCalls !== undefined && isBeforeCall(offset, entryForCalls)) return false;
  const points = inSyscall(file) ? [offset, offset - SYSCALL_LENGTH] : [offset];
  return changes.some(({ start, end }) => points.some((point) => start < point && point < end));
}

const isBeforeCall = (offset: number, { start, call }: EntryForCalls): boolean => start < offset && offset < call;

function adaptedRegisters(file: RegisterFile, standing: Standing, wordAt: (address: number) => number): RegisterFile {
  const rip = Number(readRegister(file, 'rip'));
  const { entryForCalls } = standing.redirection;
  if (entryForCalls !== undefined && isBeforeCall(rip - standing.base, entryForCalls)) {
    return backAtEntry(file, standing.base, entryForCalls, wordAt);
  }
  return standsInChange(file, standing) ? withRegisters(file, { rip: rip + standing.toCopy }) : file;
}

const WORD_32 = 4;
const WORD_64 = 8;

/** On its way to the call it has only pushed registers, and then set ebp for the processor's own way into the kernel. */
function backAtEntry(
  file: RegisterFile,
  base: number,
  { start, pushesEnd }: EntryForCalls,
  wordAt: (address: number) => number,
): RegisterFile {
  const rip = Number(readRegister(file, 'rip')) - base;
  const rsp = Number(readRegister(file, 'rsp'));
  const pushed = Math.min(rip, pushesEnd) - start;
  const rbp = rip >= pushesEnd ? wordAt(rsp) : readRegister(file, 'rbp');
  return withRegisters(file, { rip: base + start, rsp: rsp + pushed * WORD_32, rbp });
}

/**
 * A handler may have interrupted a function in the bytes that the jump takes: then its frame has such an address to go back to.
 * Nothing else on a stack has one: no call returns there.
 */
function adaptFrames(stack: Buffer, { base, redirection, toCopy }: Standing, wordSize: number): boolean {
  let found = false;
  for (let at = 0; at + wordSize <= stack.length; at += wordSize) {
    const word = wordSize === WORD_32 ? stack.readUInt32LE(at) : Number(stack.readBigUInt64LE(at));
    const offset = word - base;
    if (!redirection.changes.some(({ start, end }) => start < offset && offset < end)) continue;
    if (wordSize === WORD_32) stack.writeUInt32LE(word + toCopy, at);
    else stack.writeBigUInt64LE(BigInt(word + toCopy), at);
    found = true;
  }
  return found;
}

function remarkOn(release: string, { missing }: Redirection): string {
  const lacking =
    missing.length === 0 ? '' : `; this one lacks ${missing.join(', ')}, which make the system call or answer ENOSYS`;
  return `calls into the vDSO of kernel ${release} now lead to that of this kernel${lacking}`;
}
