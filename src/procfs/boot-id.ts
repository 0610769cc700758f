/** /proc/sys/kernel/random/boot_id: random(4). */
import { readFileSync } from 'node:fs';

let known: string | undefined;

/** A name of this boot of this host; empty where it is hidden. */
export const readBootId = (): string => {
  known ??= readAnew();
  return known;
};

function readAnew(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
