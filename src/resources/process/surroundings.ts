/**
 * Where the process was put by others: its cgroups (cgroups(7)), the label of the security module (proc_pid_attr(5)), the user
 * who logged in (proc_pid_loginuid(5)), and whether its kernel had the old vsyscall page (vdso(7)). A restarted process is
 * where the restart command is; what differs is told.
 * Lost: the audit session, and the nice value of the autogroup (sched(7)).
 */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import { readProcText } from '../../procfs/proc-file.ts';
import { type MapsEntry, readMaps } from '../../procfs/smaps.ts';
import type { Pid } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import type { ProcessAspect } from '../resource.ts';

const schema = v.strictObject({
  /** `controllers:path`, as in /proc/PID/cgroup without the number of the hierarchy. */
  cgroups: v.pipe(v.array(boundedString(4352)), v.maxLength(64)),
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
  collect: ({ speaker, mappings }) => {
    const state = readSurroundings(speaker, mappings);
    return () => state;
  },
  restore: () => {
    // The process is where the restart command is.
  },
  remark: (state, _pid, { ownPid }) => differences(state, readSurroundings(ownPid, readMaps(ownPid))),
};

function readSurroundings(pid: Pid, mappings: readonly MapsEntry[]): Surroundings {
  return {
    cgroups: (tryRead(pid, 'cgroup') ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.slice(line.indexOf(':') + 1).slice(0, 4352)),
    label: (tryRead(pid, 'attr/current') ?? '').replace(/[\n\0]+$/, '').slice(0, 4096),
    loginUid: (tryRead(pid, 'loginuid') ?? '').trim(),
    vsyscall: vsyscallOf(mappings),
  };
}

/** Undefined where the kernel has no such file, or does not let us read it: then there is nothing to compare. */
function tryRead(pid: Pid, file: string): string | undefined {
  try {
    return readProcText(pid, file);
  } catch (error) {
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
    ...cgroupDifferences(was.cgroups, is.cgroups),
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

/** A hierarchy that only one of the two hosts has is not compared. */
function cgroupDifferences(was: readonly string[], is: readonly string[]): string[] {
  const paths = new Map(is.map(splitCgroup));
  return was.map(splitCgroup).flatMap(([controllers, path]) => {
    const now = paths.get(controllers);
    if (now === undefined || now === path) return [];
    return [`its cgroup${controllers === '' ? '' : ` (${controllers})`} was ${path}, is ${now}`];
  });
}

function splitCgroup(line: string): [controllers: string, path: string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1)];
}

/** With less than it had, a call or a read of the page ends the program with SIGSEGV. */
function vsyscallDifferences(was: string, is: string): string[] {
  const missing = [...was].some((letter) => letter !== '-' && !is.includes(letter));
  return missing ? [`its kernel had a vsyscall page (${was}), this one has ${is || 'none'}`] : [];
}
