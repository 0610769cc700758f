/** /proc/sys/kernel/random/boot_id: random(4). */
import { readFileSync } from 'node:fs';
import { refuseLack } from '../support/lacking.ts';

const FILE = '/proc/sys/kernel/random/boot_id';

let known: string | undefined;

/** A name of this boot of this host; empty where it is hidden. Throws where there is no room to read it: what is not known is no other boot. */
export const readBootId = (): string => {
  known ??= readAnew();
  return known;
};

function readAnew(): string {
  try {
    return readFileSync(FILE, 'latin1').trim();
  } catch (error) {
    refuseLack(error, FILE);
    return '';
  }
}
