/**
 * vm_flags and vm_page_prot of a mapping as a kernel of 2008 has them on x86-32 with PAE, and what an image of ours says
 * instead: a protection and words of VmFlags (proc_pid_smaps(5)).
 */
import { VM } from './layout.ts';

/** PROT_READ, PROT_WRITE and PROT_EXEC are the same three bits as VM_READ, VM_WRITE and VM_EXEC. */
const PROTECTION = VM.READ | VM.WRITE | VM.EXEC;
const MAY = VM.MAYREAD | VM.MAYWRITE | VM.MAYEXEC;

const bitsOfWords: ReadonlyMap<string, number> = new Map([
  ['gd', VM.GROWSDOWN],
  ['lo', VM.LOCKED],
  ['sr', VM.SEQ_READ],
  ['rr', VM.RAND_READ],
  ['dc', VM.DONTCOPY],
  ['nr', VM.NORESERVE],
]);

/** Words of later kernels that a program does not notice: they are told, and lost. */
const hints: ReadonlyMap<string, string> = new Map([
  ['dd', 'that it is left out of core dumps'],
  ['hg', 'its wish for huge pages'],
  ['nh', 'its wish for no huge pages'],
  ['mg', 'its wish to be merged with equal pages'],
]);

const needed: ReadonlyMap<string, string> = new Map([
  ['wf', 'wiping on fork (MADV_WIPEONFORK)'],
  ['lf', 'locking of pages on first use (MLOCK_ONFAULT)'],
]);

/** What a kernel of 2008 sets by itself, and what no kernel heeds any more: nothing comes of it. */
const DERIVED = MAY | VM.DENYWRITE | VM.EXECUTABLE | VM.DONTEXPAND | VM.ACCOUNT | VM.ALWAYSDUMP;

const refusedBits = [
  'SHARED',
  'MAYSHARE',
  'GROWSUP',
  'PFNMAP',
  'IO',
  'RESERVED',
  'HUGETLB',
  'NONLINEAR',
  'MAPPED_COPY',
  'INSERTPAGE',
] as const satisfies readonly (keyof typeof VM)[];

export interface PrivateArea {
  readonly protection: number;
  /** Words of VmFlags that have to be set again. */
  readonly words: readonly string[];
}

/** The flags of private memory. */
export const privateFlags = ({ protection, words }: PrivateArea): bigint =>
  BigInt(words.reduce((bits, word) => bits | (bitsOfWords.get(word) ?? 0), protection | MAY | VM.ACCOUNT));

/** The flags of a mapping that the kernel makes itself. Its data was marked as no memory of the program's. */
export const kernelFlags = (protection: number): bigint =>
  BigInt(protection & VM.EXEC ? protection | MAY | VM.ALWAYSDUMP : protection | VM.MAYREAD | VM.IO | VM.PFNMAP);

/** _PAGE_PRESENT, _PAGE_USER, _PAGE_ACCESSED; _PAGE_PROTNONE and _PAGE_ACCESSED; _PAGE_NX (asm-x86/pgtable.h). */
const READABLE = 0x25n;
const NOTHING = 0x120n;
const NO_EXECUTE = 1n << 63n;

/** Private memory is never mapped writable: it is copied on the first write. */
export function pageProtOf(protection: number): bigint {
  if ((protection & PROTECTION) === 0) return NOTHING;
  return (protection & VM.EXEC) !== 0 ? READABLE : READABLE | NO_EXECUTE;
}

/** Also as a kernel without PAE has it, which cannot forbid execution. */
export const isPageProtOf = (pageProt: bigint, protection: number): boolean =>
  pageProt === pageProtOf(protection) || pageProt === (pageProtOf(protection) & ~NO_EXECUTE);

export const protectionOf = (flags: bigint): number => Number(flags & BigInt(PROTECTION));

export const wordsOf = (flags: bigint): string[] =>
  [...bitsOfWords].flatMap(([word, bit]) => ((flags & BigInt(bit)) === 0n ? [] : [word]));

/** Why private memory cannot have these flags; undefined if it can. */
export function flagsFault(flags: bigint): string | undefined {
  const refused = refusedBits.find((name) => (flags & BigInt(VM[name])) !== 0n);
  if (refused !== undefined) return `it is VM_${refused}, and only private memory is read`;
  const known = [...bitsOfWords.values()].reduce((bits, bit) => bits | bit, PROTECTION | DERIVED);
  const unknown = flags & ~BigInt(known);
  return unknown === 0n ? undefined : `its flags have the unknown bits 0x${unknown.toString(16)}`;
}

/** Clauses for what the words say and the flags of 2008 cannot: what a program relies on, and what it does not notice. */
export function lostWords(words: readonly string[]): { readonly needed: string[]; readonly hints: string[] } {
  const lost = words.filter((word) => !bitsOfWords.has(word));
  return {
    needed: lost.flatMap((word) => (hints.has(word) ? [] : [needed.get(word) ?? `the flag "${word}"`])),
    hints: lost.flatMap((word) => hints.get(word) ?? []),
  };
}
