/**
 * Code of another kernel's vDSO, changed so that each of its functions leads to the one of this kernel. What a thread finds
 * behind the first bytes of a function stays as it is: it runs to its end there. Pure: bytes in, changes out.
 *
 * A function that this kernel does not have makes the system call that it stands for, or answers ENOSYS, upon which libc makes
 * the call itself.
 */
import { dynamicFunctions, type ElfFunction } from '../../support/elf-symbols.ts';

export interface Change {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly bytes: Buffer;
}

export interface Redirection {
  /** Offsets from the beginning of the old vDSO, ascending. */
  readonly changes: readonly Change[];
  /** Functions that this kernel's vDSO does not have. */
  readonly missing: readonly string[];
  /** Functions too short to be changed, and an entry for calls of a form that is not known. */
  readonly unchangeable: readonly string[];
  /** Undefined in a vDSO of 64 bits. */
  readonly entryForCalls: EntryForCalls | undefined;
}

/** __kernel_vsyscall, the entry for calls of i386. Offsets from the beginning of the old vDSO. */
export interface EntryForCalls {
  readonly start: number;
  /** Of its `int 0x80`. */
  readonly call: number;
  /** Where it has pushed ecx, edx and ebp, one byte each. */
  readonly pushesEnd: number;
}

export interface VdsoCode {
  readonly image: Buffer;
  readonly start: number;
}

const ENTRY_FOR_CALLS = '__kernel_vsyscall';
/** The ends of signal handlers: frames on the stack have their addresses, and they work on any kernel as they are. */
const WORKS_ANYWHERE: ReadonlySet<string> = new Set(['__kernel_sigreturn', '__kernel_rt_sigreturn']);

/** System calls with the same arguments and the same result. */
const systemCalls64: Readonly<Record<string, number>> = {
  __vdso_gettimeofday: 96,
  __vdso_time: 201,
  __vdso_clock_gettime: 228,
  __vdso_clock_getres: 229,
  __vdso_getcpu: 309,
};

const systemCalls32: Readonly<Record<string, number>> = {
  __vdso_time: 13,
  __vdso_gettimeofday: 78,
  __vdso_clock_gettime: 265,
  __vdso_clock_getres: 266,
  __vdso_getcpu: 318,
  __vdso_clock_gettime64: 403,
  __vdso_clock_getres_time64: 406,
};

/** mov eax, number; syscall; ret */
const call64 = Buffer.from('b8000000000f05c3', 'hex');
/** push ebx; mov eax, number; mov ebx, [esp + 8]; mov ecx, [esp + 12]; mov edx, [esp + 16]; int 0x80; pop ebx; ret */
const call32 = Buffer.from('53b8000000008b5c24088b4c240c8b542410cd805bc3', 'hex');
/**
 * cmp r8, -1; je refuse; mov eax, 318 (getrandom); syscall; ret; refuse: mov rax, -38 (ENOSYS); ret
 *
 * The fifth argument is -1 where libc asks what memory the function needs.
 */
const getrandom64 = Buffer.from('4983f8ff7408b83e0100000f05c348c7c0daffffffc3', 'hex');
/** mov rax, -38; ret */
const refusal64 = Buffer.from('48c7c0daffffffc3', 'hex');
/** mov eax, -38; ret */
const refusal32 = Buffer.from('b8daffffffc3', 'hex');
/** jmp, and the distance from behind it. */
const jump = Buffer.from('e900000000', 'hex');
/** push ecx; push edx; push ebp: how __kernel_vsyscall begins. */
const pushes = Buffer.from('515255', 'hex');
/** int 0x80; ret */
const plainCall = Buffer.from('cd80c3', 'hex');
/** int 0x80; pop ebp; pop edx; pop ecx; ret: how it ends. */
const callAndPops = Buffer.from('cd805d5a59c3', 'hex');

/** What the entry for calls of i386 has behind its call, in every vDSO. */
export const returnFromCall = callAndPops.subarray(2);

/** Undefined if one of the two is no vDSO. */
export function redirect(old: VdsoCode, now: VdsoCode, is32Bit: boolean): Redirection | undefined {
  const functions = dynamicFunctions(old.image);
  const targets = new Map(dynamicFunctions(now.image)?.map(({ name, offset }) => [name, now.start + offset]));
  if (functions === undefined || targets.size === 0) return undefined;
  const entryForCalls = is32Bit ? findEntryForCalls(old.image, functions) : undefined;
  const byOffset = groupByOffset(functions);
  const result = { changes: [] as Change[], missing: [] as string[], unchangeable: [] as string[], entryForCalls };
  byOffset.forEach((names, index) => {
    const [{ offset: start }] = names;
    if (names.some(({ name }) => WORKS_ANYWHERE.has(name))) return;
    const target = names.map(({ name }) => targets.get(name)).find((found) => found !== undefined);
    const bytes = target === undefined ? answerOf(names, is32Bit) : jumpBetween(old.start + start, target, is32Bit);
    const isEntry = start === entryForCalls?.start;
    if (!isEntry && names.some(({ name }) => name === ENTRY_FOR_CALLS)) {
      // One without a fast way into the kernel is only `int 0x80`, which works on any kernel.
      if (!old.image.subarray(start).subarray(0, plainCall.length).equals(plainCall))
        result.unchangeable.push(ENTRY_FOR_CALLS);
      return;
    }
    if (target === undefined) result.missing.push(nameOf(names));
    const size = Math.max(...names.map(({ sizeBytes }) => sizeBytes));
    const room = Math.min(
      isEntry ? entryForCalls.call - start : size,
      (byOffset[index + 1]?.[0].offset ?? Infinity) - start,
    );
    if (bytes.length > room) result.unchangeable.push(nameOf(names));
    else result.changes.push({ start, end: start + bytes.length, bytes });
  });
  return result;
}

type Names = [ElfFunction, ...ElfFunction[]];

/** One function has several names: `__vdso_time` and `time`. */
function groupByOffset(functions: readonly ElfFunction[]): Names[] {
  const groups = new Map<number, Names>();
  for (const one of functions) {
    const group = groups.get(one.offset);
    if (group === undefined) groups.set(one.offset, [one]);
    else group.push(one);
  }
  return [...groups.values()].sort(([a], [b]) => a.offset - b.offset);
}

/** The name that only a vDSO has. */
const nameOf = (names: Names): string => (names.find(({ name }) => name.startsWith('__')) ?? names[0]).name;

function answerOf(names: Names, is32Bit: boolean): Buffer {
  const numbers = is32Bit ? systemCalls32 : systemCalls64;
  if (!is32Bit && names.some(({ name }) => name === '__vdso_getrandom')) return getrandom64;
  const number = names.map(({ name }) => (Object.hasOwn(numbers, name) ? numbers[name] : undefined)).find(Boolean);
  if (number === undefined) return is32Bit ? refusal32 : refusal64;
  const code = Buffer.from(is32Bit ? call32 : call64);
  code.writeUInt32LE(number, is32Bit ? 2 : 1);
  return code;
}

/** In 32 bits every address is within reach; in 64 bits whoever chose the places has seen to it. */
function jumpBetween(from: number, to: number, is32Bit: boolean): Buffer {
  const code = Buffer.from(jump);
  const distance = to - (from + jump.length);
  code.writeInt32LE(is32Bit ? distance | 0 : distance, 1);
  return code;
}

/** Undefined if it is of no known form, or only `int 0x80`. */
function findEntryForCalls(image: Buffer, functions: readonly ElfFunction[]): EntryForCalls | undefined {
  const found = functions.find(({ name }) => name === ENTRY_FOR_CALLS);
  if (found === undefined) return undefined;
  const code = image.subarray(found.offset, found.offset + found.sizeBytes);
  const call = code.indexOf(callAndPops);
  if (call < jump.length || !code.subarray(0, pushes.length).equals(pushes)) return undefined;
  return {
    start: found.offset,
    call: found.offset + call,
    pushesEnd: found.offset + pushes.length,
  };
}
