/** Choices that come again with the same seed (a linear congruential generator modulo 2^32, Numerical Recipes' constants). */

export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number;
  oneOf<T>(choices: readonly T[]): T;
}

export function randomFrom(seed: number): Random {
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) >>> 0;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const oneOf = <T>(choices: readonly T[]): T => {
    if (choices.length === 0) throw new Error('there is nothing to choose from');
    return choices[below(choices.length)] as T;
  };
  return { below, oneOf };
}
