/** What is tried on a child of ours: to make it, to stop it, to read it, to have it make system calls. */
import { SYS } from '../kernel/abi/syscall.ts';
import {
  type Probe,
  probe,
  probeChosenPid,
  probeDescriptorCopy,
  probePendingSignals,
  probeRemoteRead,
  probeRseq,
  probeSeccompFilter,
  probeUserDispatch,
} from '../kernel/features.ts';
import { readMaps } from '../procfs/smaps.ts';
import { remoteFd } from '../support/brand.ts';
import { findVdsoSite } from '../tracee/vdso-site.ts';
import { AS_ROOT, answer, type HostFeature, newerKernel, no, type Question, withOption } from './host-feature.ts';
import { ProbeChild } from './probe-child.ts';

const childQuestions = {
  program: {
    code: 'start-program',
    name: 'start a program from memory',
    need: 'both',
    purpose: 'the first page of a new process',
    remedy: 'Set the sysctl vm.memfd_noexec to 0.',
  },
  pid: {
    code: 'choose-pid',
    name: 'choose the pid of a new process (clone3 set_tid)',
    need: 'extra',
    purpose: 'a program comes back with the pids that it had, without namespaces of its own',
    remedy: AS_ROOT,
  },
  seize: {
    code: 'ptrace-seize',
    name: 'trace a process (PTRACE_SEIZE)',
    need: 'both',
    purpose: 'to stop a program and to read its registers',
    remedy: `${AS_ROOT} In a container: allow ptrace in its seccomp profile.`,
  },
  remoteCall: {
    code: 'remote-call',
    name: 'make system calls inside a process',
    need: 'both',
    purpose: 'what only a process itself can read and set',
    remedy: 'Use a host whose kernel traces system calls (not a sandbox such as gVisor).',
  },
  descriptor: {
    code: 'pidfd-getfd',
    name: 'take duplicates of descriptors (pidfd_getfd)',
    need: 'both',
    purpose: 'open files',
    remedy: newerKernel('5.6'),
  },
  read: {
    code: 'process-vm-readv',
    name: 'copy memory (process_vm_readv)',
    need: 'both',
    purpose: 'memory',
    remedy: AS_ROOT,
  },
  rseq: {
    code: 'rseq',
    name: 'read restartable sequences (PTRACE_GET_RSEQ_CONFIGURATION)',
    need: 'checkpoint',
    purpose: 'every program with glibc 2.35 or later',
    remedy: newerKernel('5.13, with CONFIG_RSEQ'),
  },
  signals: {
    code: 'pending-signals',
    name: 'read pending signals (PTRACE_PEEKSIGINFO)',
    need: 'checkpoint',
    purpose: 'signals on their way',
    remedy: newerKernel('3.10'),
  },
  vdso: {
    code: 'vdso-room',
    name: 'room in the vDSO',
    need: 'checkpoint',
    purpose: 'the first foothold in a program',
    remedy: 'Report this with the output of "uname -r".',
  },
  dispatch: {
    code: 'user-dispatch',
    name: 'read syscall user dispatch',
    need: 'extra',
    purpose: 'to refuse programs that use it (Wine)',
    remedy: newerKernel('6.4'),
  },
  filter: {
    code: 'seccomp-filter',
    name: 'read seccomp filters (PTRACE_SECCOMP_GET_FILTER)',
    need: 'extra',
    purpose: 'programs in a sandbox',
    remedy: `${withOption('CONFIG_CHECKPOINT_RESTORE')} It needs CAP_SYS_ADMIN, and no seccomp filter around quicksave.`,
  },
} as const satisfies Record<string, Question>;

/** Each answer comes from what stands before it, so that one failure is told once. */
export function askChild(): HostFeature[] {
  let child: ProbeChild;
  try {
    child = new ProbeChild();
  } catch (error) {
    const failed = probe(() => {
      throw error;
    });
    return withoutAnswers(['program'], failed);
  }
  try {
    return [answer(childQuestions.program, { available: true }), ...askRunningChild(child)];
  } finally {
    child.end();
  }
}

type ChildQuestion = keyof typeof childQuestions;

/** The first question has this answer; those behind it could not be asked. */
function withoutAnswers([first, ...done]: [ChildQuestion, ...ChildQuestion[]], found: Probe): HostFeature[] {
  const rest = (Object.keys(childQuestions) as ChildQuestion[]).filter(
    (name) => name !== first && !done.includes(name),
  );
  const why = `not tried, because "${childQuestions[first].name}" does not work`;
  return [answer(childQuestions[first], found), ...rest.map((name) => answer(childQuestions[name], no(why)))];
}

function askRunningChild(child: ProbeChild): HostFeature[] {
  const pid = answer(childQuestions.pid, probeChosenPid(child.executable.number));
  const seized = probe(() => {
    child.seize();
    return true;
  });
  if (!seized.available) return [pid, ...withoutAnswers(['seize', 'program', 'pid'], seized)];
  return [pid, answer(childQuestions.seize, seized), ...askStoppedChild(child)];
}

function askStoppedChild(child: ProbeChild): HostFeature[] {
  const called = probe(() => (child.call(SYS.getpid) === child.pid ? true : undefined));
  return [
    answer(childQuestions.remoteCall, called),
    answer(childQuestions.descriptor, called.available ? probeCopy(child) : called),
    answer(childQuestions.read, probeRemoteRead(child.pid, child.code)),
    answer(childQuestions.rseq, probeRseq(child.tid)),
    answer(childQuestions.signals, probePendingSignals(child.tid)),
    answer(childQuestions.vdso, probeVdso(child)),
    answer(childQuestions.dispatch, probeUserDispatch(child.tid)),
    answer(childQuestions.filter, called.available ? probeFilter(child) : called),
  ];
}

const probeCopy = (child: ProbeChild): Probe =>
  probeDescriptorCopy(child.pid, remoteFd(child.call(SYS.epoll_create1, 0)));

const probeVdso = (child: ProbeChild): Probe =>
  probe(() => {
    const vdso = readMaps(child.pid).find((entry) => entry.special === '[vdso]');
    return vdso === undefined ? undefined : findVdsoSite(child.pid, vdso);
  });

const probeFilter = (child: ProbeChild): Probe =>
  child.takeFilter() ? probeSeccompFilter(child.tid) : no('no filter could be set');
