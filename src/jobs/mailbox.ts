/** What a supervisor waits for, one thing after another: nothing that comes while it is busy is lost. */

/** A timer of Node holds no more; whoever took nothing asks again. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Mailbox<T> {
  readonly #letters: T[] = [];
  #wake: () => void = () => {};

  post(letter: T): void {
    this.#letters.push(letter);
    this.#wake();
  }

  /** The next letter; undefined if none has come by then (a time of `Date.now()`). */
  async take(until: number): Promise<T | undefined> {
    if (this.#letters.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, Math.min(until - Date.now(), LONGEST_TIMER_MS)));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#letters.shift();
  }
}
