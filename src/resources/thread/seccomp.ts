/**
 * The seccomp filters of a thread: seccomp(2). Read with ptrace(2) while it stands still. Restored last, while its own and our calls are not met
 * by them (PTRACE_O_SUSPEND_SECCOMP), and before rights are given up that the installing needs. What all threads of a process have in common
 * is installed before there are others, so that they share it, as SECCOMP_FILTER_FLAG_TSYNC asks; what only some of them have
 * in common becomes one filter for each. SECCOMP_FILTER_FLAG_SPEC_ALLOW leaves the mitigations of speculation as they are, which are restored by themselves.
 *
 * Needed: CAP_SYS_ADMIN and CONFIG_CHECKPOINT_RESTORE, at the save and at the restart. What the listener of a filter was is not told by the
 * kernel: filters that may ask one are refused (tracee/call-guard.ts), as is strict mode.
 */
import * as v from 'valibot';
import { boundedArray, byteString } from '../../image/schema.ts';
import { BPF, SECCOMP, seccompAbi } from '../../kernel/abi/seccomp.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { getSeccompFilters, type SeccompFilter } from '../../kernel/calls/ptrace.ts';
import { structOf } from '../../kernel/struct.ts';
import type { Problem } from '../../support/errors.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import type { ThreadAspect } from '../resource.ts';
import { maySuspendSeccomp } from '../seccomp-rights.ts';

const INSTRUCTION_SIZE = seccompAbi.structs.sock_filter.size;
/** MAX_INSNS_PER_PATH of kernel/seccomp.c: of all filters of a thread, each of which counts four more. */
const MOST_INSTRUCTIONS = (1 << 18) / INSTRUCTION_SIZE;
const COST_OF_FILTER = 4;

const program = v.pipe(
  byteString(BPF.BPF_MAXINSNS * INSTRUCTION_SIZE),
  v.check(
    ({ length }) => length > 0 && length % INSTRUCTION_SIZE === 0,
    'must be at least one instruction of eight bytes',
  ),
);

const schema = v.optional(
  v.strictObject({
    /** The oldest first. */
    filters: v.pipe(
      boundedArray(v.strictObject({ program, log: v.boolean() }), MOST_INSTRUCTIONS / (COST_OF_FILTER + 1)),
      v.check(
        (filters) => costOf(filters) <= MOST_INSTRUCTIONS,
        'must not have more instructions than the kernel takes',
      ),
    ),
  }),
  // Images from before this do not have it.
  { filters: [] },
);

const costOf = (filters: readonly SeccompFilter[]): number =>
  filters.reduce((sum, filter) => sum + filter.program.length / INSTRUCTION_SIZE + COST_OF_FILTER, 0);

interface SeccompState {
  readonly filters: readonly SeccompFilter[];
}

export const seccomp: ThreadAspect<v.InferOutput<typeof schema>> = {
  name: 'seccomp',
  schema,
  collect: ({ tid }) => {
    // Who may not see filters has no business here if there are any: the save has been refused.
    const filters = getSeccompFilters(tid) ?? [];
    return () => ({ filters });
  },
  plan: ({ filters }, { status }, tid) => (filters.length > 0 && !maySuspendSeccomp(status) ? [noSuspension(tid)] : []),
  needsSuspendedSeccomp: ({ filters }) => filters.length > 0,
  restore: () => {
    // Nothing yet: what is restored behind it needs no thread with filters.
  },
  bequeath: (states, { batch }) => install(batch, states[0]?.filters.slice(0, countInCommon(states)) ?? []),
  finish: ({ filters }, { batch }, states) => install(batch, filters.slice(countInCommon(states))),
};

/** How many of the oldest filters are the same in all. */
function countInCommon(states: readonly SeccompState[]): number {
  const [first, ...others] = states;
  const isCommon = (filter: SeccompFilter, index: number): boolean =>
    others.every(({ filters }) => isSame(filters[index], filter));
  const different = first?.filters.findIndex((filter, index) => !isCommon(filter, index)) ?? 0;
  return different < 0 ? (first?.filters.length ?? 0) : different;
}

const isSame = (one: SeccompFilter | undefined, other: SeccompFilter): boolean =>
  one !== undefined && one.log === other.log && Buffer.compare(one.program, other.program) === 0;

const fprog = structOf(seccompAbi.structs.sock_fprog);

function install(batch: CallBatch, filters: readonly SeccompFilter[]): void {
  const { SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW } = SECCOMP;
  for (const { program: instructions, log } of filters) {
    if (!batch.hasRoomFor(2, instructions.length + fprog.size)) batch.run();
    const len = instructions.length / INSTRUCTION_SIZE;
    const passed = batch.bytes(fprog.encode({ len, filter: BigInt(batch.bytes(instructions).address) }));
    const flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW | (log ? SECCOMP_FILTER_FLAG_LOG : 0);
    batch.call('install a seccomp filter', SYS.seccomp, SECCOMP_SET_MODE_FILTER, flags, passed.address);
  }
}

const noSuspension = (tid: number): Problem => ({
  code: 'no-seccomp-suspension',
  path: [`thread ${tid}`],
  message:
    'It ran under seccomp filters, which only a process with CAP_SYS_ADMIN and without such a filter of its own may give to it again.',
  remedy: 'Run the restart as root, outside of any sandbox or container.',
});
