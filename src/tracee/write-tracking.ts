/**
 * Asynchronous write protection of a target's memory: a userfaultfd that is made in the target and is ours at once. Whoever has it open keeps the
 * protection; when the last one closes it, the kernel takes it away. A write to a protected page clears a bit in the page table and goes on
 * (UFFD_FEATURE_WP_ASYNC, Linux 6.7): nobody has to answer.
 *
 * Not UFFD_FEATURE_WP_UNPOPULATED: marks for pages that are not there yet would take page tables for whatever the program has reserved. A page that
 * comes later has no mark and counts as written.
 */
import { UFFD } from '../kernel/abi/userfaultfd.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { Agent } from './agent.ts';
import { makeUserfaultfd } from './remote-userfaultfd.ts';

/** Undefined where the kernel does not have it, or does not let the target have it. All threads must stand still. */
export const makeTrackingDescriptor = (agent: Agent): OwnedFd | undefined =>
  makeUserfaultfd(agent, UFFD.UFFD_USER_MODE_ONLY, UFFD.UFFD_FEATURE_WP_ASYNC);
