/** Which word of VmFlags (proc_pid_smaps(5)) stands for which bit of a mapping's flags: learned from mappings of which both are known, since kernels differ. */
import type { VmaFlags } from '../kernel/calls/vma-flags.ts';
import { type Mapping, type MapsEntry, mappingOf } from '../procfs/smaps.ts';

/** Pages of another size than usual, which only smaps tells. */
const HUGE = 'ht';
const VSYSCALL = '[vsyscall]';
const PAGE_KIB = 4;

export class FlagWords {
  readonly #wordOf = new Map<number, string>();
  /** Equal flags, one list. */
  readonly #lists = new Map<bigint, readonly string[]>();
  #protectionKey: number | undefined;
  #vsyscall: Mapping | undefined;
  #isConsistent = true;

  get knowsAny(): boolean {
    return this.#isConsistent && this.#wordOf.size > 0;
  }

  /**
   * From what smaps says, and what the flags were `before` and `after` it was read. The kernel says the words from the lowest bit to the highest; where it says fewer
   * than there are bits (those of protection keys have no word), nothing is learned.
   */
  learn(mappings: readonly Mapping[], before: readonly VmaFlags[], after: readonly VmaFlags[]): void {
    const [flagsBefore, flagsAfter] = [before, after].map(
      (all) => new Map(all.map(({ start, end, flags }) => [`${start}-${end}`, flags])),
    );
    for (const mapping of mappings) {
      if (mapping.special === VSYSCALL) this.#vsyscall = mapping;
      const place = `${mapping.start}-${mapping.end}`;
      const flags = flagsBefore?.get(place);
      if (flags !== undefined && flagsAfter?.get(place) === flags) this.#learnOne(mapping, bitsOf(flags));
    }
  }

  #learnOne({ vmFlags, protectionKey }: Mapping, bits: readonly number[]): void {
    if (bits.length !== vmFlags.length) return;
    bits.forEach((bit, index) => {
      const word = vmFlags[index] ?? '';
      if ((this.#wordOf.get(bit) ?? word) !== word) this.#isConsistent = false;
      this.#wordOf.set(bit, word);
    });
    this.#protectionKey = protectionKey;
  }

  /** As smaps would. Undefined if something of it was not learned. */
  describe(entries: readonly MapsEntry[], flags: readonly VmaFlags[]): Mapping[] | undefined {
    if (!this.knowsAny) return undefined;
    const found: Mapping[] = [];
    let next = 0;
    for (const entry of entries) {
      if (entry.special === VSYSCALL && this.#vsyscall !== undefined) {
        found.push(this.#vsyscall);
        continue;
      }
      const one = flags[next++];
      if (one === undefined || one.start !== entry.start || one.end !== entry.end) return undefined;
      const vmFlags = this.#wordsOf(one.flags);
      if (vmFlags === undefined || vmFlags.includes(HUGE)) return undefined;
      found.push(mappingOf(entry, vmFlags, this.#protectionKey, PAGE_KIB));
    }
    return next === flags.length ? found : undefined;
  }

  #wordsOf(flags: bigint): readonly string[] | undefined {
    const known = this.#lists.get(flags);
    if (known !== undefined) return known;
    const words: string[] = [];
    for (const bit of bitsOf(flags)) {
      const word = this.#wordOf.get(bit);
      if (word === undefined) return undefined;
      words.push(word);
    }
    this.#lists.set(flags, words);
    return words;
  }
}

/** Ascending. */
function bitsOf(flags: bigint): number[] {
  const bits: number[] = [];
  for (let rest = flags, bit = 0; rest > 0n; rest >>= 1n, bit++) if ((rest & 1n) === 1n) bits.push(bit);
  return bits;
}
