/**
 * Timers that go on while the process stands still: one that runs out between the reading of what is left of it and that of the
 * pending signals, which comes after, would be lost or come twice.
 */

/** Between the two less time passes. */
const SOON_MS = 10;

/**
 * True if a timer of which `leftNs` were left at `askedAtMs` has expired by now. One that is about to is waited for, some
 * milliseconds at most: then its signal is among the pending ones.
 */
export function awaitExpiry(askedAtMs: number, leftNs: bigint): boolean {
  const endMs = askedAtMs + Number(leftNs) / 1e6;
  if (leftNs === 0n || endMs > performance.now() + SOON_MS) return false;
  while (performance.now() <= endMs + 1) {
    // It is about to.
  }
  return true;
}
