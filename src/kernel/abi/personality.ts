/** personality(2): the bits that change how execve(2) lays a process out. */
import { defineAbi } from './define-abi.ts';

export const PERSONALITY = {
  /** Mappings from below upwards. */
  ADDR_COMPAT_LAYOUT: 0x0200000,
  /** The memory of a 32-bit program ends at 3 GiB. */
  ADDR_LIMIT_3GB: 0x8000000,
} as const;

export const personalityAbi = defineAbi({ headers: ['sys/personality.h'], constants: PERSONALITY });
