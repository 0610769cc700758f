/** One line of the check of a host: the question, and the answer that the kernel gave. */
import type { Probe } from '../kernel/features.ts';

/** Who needs a feature. `extra`: nothing fails without it. */
export type Need = 'both' | 'checkpoint' | 'restart' | 'extra';

export interface HostFeature {
  /** Stable, kebab-case. */
  readonly code: string;
  readonly name: string;
  readonly available: boolean;
  readonly need: Need;
  /** What it is for, or what is lost without it. */
  readonly purpose: string;
  /** What the kernel answered; only of what is not available. */
  readonly why?: string;
  /** Only of what is not available. */
  readonly remedy?: string;
}

export interface Question {
  readonly code: string;
  readonly name: string;
  readonly need: Need;
  readonly purpose: string;
  readonly remedy: string;
}

/** Remedies that many have in common. */
export const AS_ROOT = 'Run quicksave as root, or give it CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE.';
export const newerKernel = (version: string): string => `Use a kernel of Linux ${version} or later.`;
export const withOption = (option: string): string => `Use a kernel that is built with ${option}.`;

export const no = (why: string): Probe => ({ available: false, why });
export const given = (available: boolean, why: string): Probe => (available ? { available } : no(why));

export function answer({ remedy, ...question }: Question, found: Probe): HostFeature {
  if (found.available) return { ...question, available: true };
  return { ...question, available: false, why: found.why, remedy };
}
