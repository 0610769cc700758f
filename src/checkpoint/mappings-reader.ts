/**
 * The mappings of a program that stands still, with the words of their flags. /proc/PID/smaps, which alone spells the words out, is read while the program runs: it takes as long as there
 * is memory (20 ms for a gibibyte), because it counts all pages. While the program stands still the flags are read as numbers, and said in the words that smaps was seen to say for
 * the same bits. What was not seen is not guessed: then smaps is read once more.
 */
import { KernelObjects } from '../kernel/kernel-objects.ts';
import { type Mapping, readMaps, readSmaps } from '../procfs/smaps.ts';
import { asPid, type Pid } from '../support/brand.ts';
import { FlagWords } from './flag-words.ts';

type Iterator = NonNullable<ReturnType<KernelObjects['tryOpenVmaIterator']>>;

export class MappingsReader {
  readonly #words = new FlagWords();
  #iterator: Iterator | undefined;
  #knowsOwn = false;

  /** Only worth while for large programs: it takes 10 ms. */
  open(): void {
    this.#iterator ??= KernelObjects.tryOpen()?.tryOpenVmaIterator();
  }

  /** Of a program that runs: what its words are is remembered. */
  readonly running = (pid: Pid): Mapping[] => {
    const before = this.#iterator?.tryRead(pid);
    const mappings = readSmaps(pid);
    const after = before && this.#iterator?.tryRead(pid);
    if (before !== undefined && after !== undefined) this.#words.learn(mappings, before, after);
    return mappings;
  };

  /** Of a program that stands still. */
  readonly still = (pid: Pid): Mapping[] => this.#quickly(pid) ?? readSmaps(pid);

  #quickly(pid: Pid): Mapping[] | undefined {
    if (!this.#words.knowsAny) return undefined;
    const flags = this.#iterator?.tryRead(pid);
    if (flags === undefined) return undefined;
    const maps = readMaps(pid);
    const found = this.#words.describe(maps, flags);
    if (found !== undefined || this.#knowsOwn) return found;
    // The mappings that we have made in it may be of a kind that only we have too.
    this.#knowsOwn = true;
    this.running(asPid(process.pid));
    return this.#words.describe(maps, flags);
  }

  close(): void {
    this.#iterator?.close();
    this.#iterator = undefined;
  }
}
