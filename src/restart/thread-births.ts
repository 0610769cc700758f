/**
 * In which order the threads of a process are made, and by which of them: who shares a descriptor table, or working directory, root and umask, with
 * another must be made by one that has them (CLONE_FILES, CLONE_FS of clone(2)); what it shares with nobody yet is its own from its birth.
 */
import { ImageError } from '../support/errors.ts';

/** Numbers of the objects that a thread has; equal numbers are one object. */
export interface ThreadParts {
  readonly files: number;
  readonly fileSystem: number;
}

/** Both are indexes into the threads of the process. */
export interface ThreadBirth {
  readonly thread: number;
  readonly maker: number;
  readonly sharesFiles: boolean;
  readonly sharesFileSystem: boolean;
}

/** `threads`: the leader, who is there, first. Throws ImageError where no order leads there. */
export function planThreadBirths(threads: readonly ThreadParts[]): ThreadBirth[] {
  return new Planner(threads).plan();
}

class Planner {
  readonly #threads: readonly ThreadParts[];
  readonly #births: ThreadBirth[] = [];
  /** Threads that are there, by what they have. */
  readonly #withFiles = new Map<number, number>();
  readonly #withFileSystem = new Map<number, number>();
  readonly #withBoth = new Map<string, number>();
  /** Threads that are to be made, by what they have. */
  readonly #wantFiles = new Map<number, number[]>();
  readonly #wantFileSystem = new Map<number, number[]>();
  readonly #made = new Set<number>();
  readonly #relatives: number[] = [];

  constructor(threads: readonly ThreadParts[]) {
    this.#threads = threads;
    threads.forEach(({ files, fileSystem }, thread) => {
      note(this.#wantFiles, files, thread);
      note(this.#wantFileSystem, fileSystem, thread);
    });
  }

  /** Who has something in common with those that are there comes first: what it has besides may lead to others. */
  plan(): ThreadBirth[] {
    for (let thread = 0; thread < this.#threads.length; thread++) {
      this.#make(thread);
      // It grows as they are made.
      for (const relative of this.#relatives) this.#make(relative);
      this.#relatives.length = 0;
    }
    return this.#births;
  }

  #make(thread: number): void {
    if (this.#made.has(thread)) return;
    const { files, fileSystem } = this.#threads[thread] as ThreadParts;
    if (thread !== 0) this.#births.push(this.#birthOf(thread, files, fileSystem));
    this.#made.add(thread);
    this.#withBoth.set(`${files} ${fileSystem}`, thread);
    this.#withFiles.set(files, thread);
    this.#withFileSystem.set(fileSystem, thread);
    for (const [wanted, object] of [[this.#wantFiles, files] as const, [this.#wantFileSystem, fileSystem] as const]) {
      for (const relative of wanted.get(object) ?? []) this.#relatives.push(relative);
      wanted.delete(object);
    }
  }

  #birthOf(thread: number, files: number, fileSystem: number): ThreadBirth {
    const twin = this.#withBoth.get(`${files} ${fileSystem}`);
    if (twin !== undefined) return { thread, maker: twin, sharesFiles: true, sharesFileSystem: true };
    const ofFiles = this.#withFiles.get(files);
    const ofFileSystem = this.#withFileSystem.get(fileSystem);
    if (ofFiles !== undefined && ofFileSystem !== undefined) {
      throw new ImageError(
        'bad-record',
        'The image has threads that share what no order of making them lets them share.',
      );
    }
    return {
      thread,
      maker: ofFiles ?? ofFileSystem ?? 0,
      sharesFiles: ofFiles !== undefined,
      sharesFileSystem: ofFileSystem !== undefined,
    };
  }
}

function note(into: Map<number, number[]>, object: number, thread: number): void {
  const known = into.get(object);
  if (known === undefined) into.set(object, [thread]);
  else known.push(thread);
}
