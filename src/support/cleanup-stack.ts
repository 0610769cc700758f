/** Undo steps, run in reverse. A step that fails does not keep the others from running. */
export class CleanupStack {
  #steps: (() => void)[] = [];

  push(undo: () => void): void {
    this.#steps.push(undo);
  }

  /** Keeps what was done: the point of no return. */
  release(): void {
    this.#steps = [];
  }

  /** Runs every step once. Errors are swallowed: the error that led here is the one to tell. */
  run(): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step();
      } catch {
        // A later step must still run, and the first error is already on its way to the user.
      }
    }
  }
}
