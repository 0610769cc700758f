/** /proc/sys/kernel/random/boot_id: random(4). */
import { readFileSync } from 'node:fs';

/** A name of this boot of this host; empty where it is hidden. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
