/**
 * What the kernel keeps of a process's memory besides the mappings: where code, data, heap, stack, arguments and
 * environment are, the auxiliary vector, and the file behind /proc/PID/exe. PR_SET_MM_MAP of prctl(2) (PR_SET_MM) sets all
 * of it at once, after the mappings stand; it needs CAP_CHECKPOINT_RESTORE (Linux 5.9) for the executable.
 */

import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { byteString, objectReference, userAddress } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { readExecutable } from '../../procfs/exe.ts';
import type { ProcessStat } from '../../procfs/stat.ts';
import type { Problem } from '../../support/errors.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

/** The order of struct prctl_mm_map (linux/prctl.h), 8 bytes each. */
const fieldOrder = [
  'startCode',
  'endCode',
  'startData',
  'endData',
  'startBrk',
  'brk',
  'startStack',
  'argStart',
  'argEnd',
  'envStart',
  'envEnd',
] as const;

const PRCTL_MM_MAP_SIZE = 104;
const AUXV_OFFSET = 88;
/** AT_VECTOR_SIZE on x86-64 is below 64 entries of 16 bytes. */
const MAX_AUXV_SIZE = 1024;

const schema = v.strictObject({
  ...(Object.fromEntries(fieldOrder.map((name) => [name, userAddress])) as Record<
    (typeof fieldOrder)[number],
    typeof userAddress
  >),
  auxv: byteString(MAX_AUXV_SIZE),
  executable: objectReference,
});
type MemoryMapFields = v.InferOutput<typeof schema>;

export const memoryMapFields: ProcessAspect<MemoryMapFields> = {
  name: 'memoryMapFields',
  schema,
  stage: 'memory',
  belongsTo: 'memory',
  obstacles,
  collect: ({ speaker, stat, batch, files }) => {
    const executable = files.reference(`/proc/${speaker}/exe`, readExecutable(speaker)?.path ?? '');
    const auxv = withoutPadding(readFileSync(`/proc/${speaker}/auxv`));
    const brk = batch.call('read the end of the heap', SYS.brk, 0);
    return () => ({ ...fromStat(stat), brk: brk.result, auxv, executable });
  },
  filesOf: (state) => [state.executable],
  restore: (state, { batch, remoteFile }) => {
    const map = batch.data(PRCTL_MM_MAP_SIZE);
    const auxv = batch.bytes(state.auxv);
    fieldOrder.forEach((name, index) => {
      map.bytes.writeBigUInt64LE(BigInt(state[name]), index * 8);
    });
    map.bytes.writeBigUInt64LE(BigInt(auxv.address), AUXV_OFFSET);
    map.bytes.writeUInt32LE(state.auxv.length, AUXV_OFFSET + 8);
    map.bytes.writeUInt32LE(remoteFile(state.executable), AUXV_OFFSET + 12);
    const { PR_SET_MM, PR_SET_MM_MAP } = PR;
    batch.call(
      'set the fields of the memory map',
      SYS.prctl,
      PR_SET_MM,
      PR_SET_MM_MAP,
      map.address,
      PRCTL_MM_MAP_SIZE,
      0,
    );
  },
};

function fromStat(stat: ProcessStat): Omit<MemoryMapFields, 'brk' | 'auxv' | 'executable'> {
  const { startCode, endCode, startData, endData, startBrk, startStack, argStart, argEnd, envStart, envEnd } = stat;
  return { startCode, endCode, startData, endData, startBrk, startStack, argStart, argEnd, envStart, envEnd };
}

/** The kernel shows its whole array; what lies behind the closing AT_NULL is nothing. */
function withoutPadding(auxv: Buffer): Buffer {
  for (let end = 0; end + 16 <= auxv.length; end += 16) {
    if (auxv.readBigUInt64LE(end) === 0n) return auxv.subarray(0, end + 16);
  }
  return auxv;
}

function obstacles({ pid, speaker }: ProcessView): Problem[] {
  const executable = readExecutable(speaker);
  if (executable === undefined || !executable.deleted) return [];
  return [
    {
      code: 'deleted-executable',
      path: [`pid ${pid}`, 'exe'],
      message: `Its program file ${executable.path} has been deleted or replaced.`,
      remedy: 'Put the same file back under its name, or start the program from the new one.',
    },
  ];
}
