/**
 * Where the process was put by others: its cgroups (cgroups(7)), the label of the security module (proc_pid_attr(5)), the user
 * who logged in (proc_pid_loginuid(5)), and whether its kernel had the old vsyscall page (vdso(7)). A restarted process is put into
 * its cgroups; of the rest it has what the restart command has, and what differs is told.
 * A thread may be in other cgroups than its process: in hierarchies of version 1, and in threaded ones of version 2.
 * Lost: the audit session, and the nice value of the autogroup (sched(7)).
 */
import * as v from 'valibot';
import { boundedArray, boundedString, u32 } from '../../image/schema.ts';
import { cgroupLines } from '../../procfs/cgroup.ts';
import { readProcText } from '../../procfs/proc-file.ts';
import { type MapsEntry, readMaps } from '../../procfs/smaps.ts';
import type { Pid, Tid } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { refuseLack } from '../../support/lacking.ts';
import type { ProcessAspect } from '../resource.ts';

/** PID_MAX_LIMIT of linux/threads.h. */
const MAX_THREADS = 1 << 22;
/** `controllers:path`, as in /proc/PID/cgroup without the number of the hierarchy. */
const cgroups = v.pipe(v.array(v.pipe(boundedString(4352), v.includes(':'))), v.maxLength(64));
const schema = v.strictObject({
  cgroups,
  /** Threads whose cgroups are not those of the process. Missing: none. */
  threads: v.optional(boundedArray(v.strictObject({ tid: u32, cgroups }), MAX_THREADS)),
  /** '' without a security module that has labels. */
  label: boundedString(4096),
  /** 4294967295 before anybody has logged in; '' on a kernel without auditing. */
  loginUid: boundedString(10),
  /** Permissions of the page: '--x' or 'r-x', '' without one. */
  vsyscall: boundedString(3),
});
type Surroundings = v.InferOutput<typeof schema>;

const UNKNOWN: Surroundings = { cgroups: [], label: '', loginUid: '', vsyscall: '' };

export const surroundings: ProcessAspect<Surroundings> = {
  name: 'surroundings',
  // Images from before do not have them.
  schema: v.optional(schema, UNKNOWN),
  stage: 'late',
  collect: ({ pid, speaker, tids, mappings }) => {
    const state = readSurroundings(speaker, mappings);
    const threads = threadsElsewhere(pid, speaker, tids, state.cgroups);
    return () => (threads.length === 0 ? state : { ...state, threads });
  },
  cgroupsOf: ({ cgroups: lines, threads = [] }) => ({ cgroups: lines, threads }),
  restore: () => {
    // Cgroups have their time of their own; of the rest it has what the restart command has.
  },
  remark: (state, _pid, { ownPid }) => differences(state, readSurroundings(ownPid, readMaps(ownPid))),
};

function readSurroundings(pid: Pid, mappings: readonly MapsEntry[]): Surroundings {
  return {
    cgroups: cgroupLines(tryRead(pid, 'cgroup') ?? ''),
    label: (tryRead(pid, 'attr/current') ?? '').replace(/[\n\0]+$/, '').slice(0, 4096),
    loginUid: (tryRead(pid, 'loginuid') ?? '').trim(),
    vsyscall: vsyscallOf(mappings),
  };
}

function threadsElsewhere(
  pid: Pid,
  speaker: Pid,
  tids: readonly Tid[],
  ofProcess: readonly string[],
): { tid: number; cgroups: string[] }[] {
  const known = ofProcess.join();
  return tids
    .filter((tid) => tid !== (speaker as number))
    .map((tid) => ({ tid, cgroups: cgroupLines(tryRead(pid, `task/${tid}/cgroup`) ?? '') }))
    .filter(({ cgroups: lines }) => lines.length > 0 && lines.join() !== known);
}

/** Undefined where the kernel has no such file, or does not let us read it: then there is nothing to compare. */
function tryRead(pid: Pid, file: string): string | undefined {
  try {
    return readProcText(pid, file);
  } catch (error) {
    refuseLack(error, `/proc/${pid}/${file}`);
    if (error instanceof QuicksaveError) return undefined;
    throw error;
  }
}

function vsyscallOf(mappings: readonly MapsEntry[]): string {
  const page = mappings.find(({ special }) => special === '[vsyscall]');
  if (page === undefined) return '';
  return `${page.read ? 'r' : '-'}${page.write ? 'w' : '-'}${page.execute ? 'x' : '-'}`;
}

function differences(was: Surroundings, is: Surroundings): string | undefined {
  const said = [
    ...(was.label === '' || was.label === is.label
      ? []
      : [`its security label was ${was.label}, is ${is.label || 'none'}`]),
    ...(was.loginUid === '' || was.loginUid === is.loginUid
      ? []
      : [`its login uid was ${userText(was.loginUid)}, is ${userText(is.loginUid)}`]),
    ...vsyscallDifferences(was.vsyscall, is.vsyscall),
  ];
  return said.length === 0 ? undefined : said.join('; ');
}

const NOBODY = '4294967295';
const userText = (uid: string): string => (uid === '' || uid === NOBODY ? 'none' : uid);

/** With less than it had, a call or a read of the page ends the program with SIGSEGV. */
function vsyscallDifferences(was: string, is: string): string[] {
  const missing = [...was].some((letter) => letter !== '-' && !is.includes(letter));
  return missing ? [`its kernel had a vsyscall page (${was}), this one has ${is || 'none'}`] : [];
}
