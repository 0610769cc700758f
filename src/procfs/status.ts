/** /proc/PID/status and /proc/PID/task/TID/status: proc_pid_status(5). */
import { asPid, type Pid, type Tid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import { KeyedText, malformed, parseDecimal, parseList, parseOctal, words } from './proc-text.ts';

export interface Credentials {
  readonly real: number;
  readonly effective: number;
  readonly saved: number;
  readonly filesystem: number;
}

/** Undefined members are printed by newer kernels or other configurations only; each says which. */
export interface ProcessStatus {
  readonly name: string;
  /** A task that has exited has no umask. */
  readonly umask: number | undefined;
  /** One letter: R S D T t X Z P I. */
  readonly state: string;
  readonly tgid: Pid;
  readonly ngid: number;
  /** Of the task: in a thread's own file it is the tid. */
  readonly pid: number;
  readonly ppid: Pid;
  /** 0 if nobody traces the task. */
  readonly tracerPid: number;
  readonly uid: Credentials;
  readonly gid: Credentials;
  readonly groups: readonly number[];
  readonly fdSize: number;
  /** From our pid namespace inwards; the last is what the task itself sees. Needs CONFIG_PID_NS. */
  readonly nsTgid: readonly number[] | undefined;
  readonly nsPid: readonly number[] | undefined;
  readonly nsPgid: readonly number[] | undefined;
  readonly nsSid: readonly number[] | undefined;
  /** Linux 6.8. Before it, a kernel thread is told by PF_KTHREAD in stat's flags. */
  readonly kernelThread: boolean | undefined;
  /** A kernel thread and a zombie have no memory. */
  readonly memory: MemoryStatus | undefined;
  /** Linux 4.15; needs memory. */
  readonly coreDumping: boolean | undefined;
  /** Linux 5.0; needs memory. */
  readonly thpEnabled: boolean | undefined;
  /** Linux 6.4 on x86-64; needs memory. */
  readonly untagMask: bigint | undefined;
  readonly threads: number;
  readonly signalQueue: { readonly queued: number; readonly limit: number };
  readonly pendingSignals: bigint;
  readonly sharedPendingSignals: bigint;
  readonly blockedSignals: bigint;
  readonly ignoredSignals: bigint;
  readonly caughtSignals: bigint;
  readonly capInheritable: bigint;
  readonly capPermitted: bigint;
  readonly capEffective: bigint;
  readonly capBounding: bigint;
  readonly capAmbient: bigint;
  readonly noNewPrivs: boolean;
  /** 0 off, 1 strict, 2 filter. Needs CONFIG_SECCOMP. */
  readonly seccompMode: number | undefined;
  /** Linux 5.9, with CONFIG_SECCOMP_FILTER. */
  readonly seccompFilters: number | undefined;
  readonly speculationStoreBypass: string | undefined;
  readonly speculationIndirectBranch: string | undefined;
  /** Linux 6.6 on processors with shadow stacks; empty if none is in use: "shstk", "wrss". */
  readonly x86ThreadFeatures: readonly string[] | undefined;
  readonly x86ThreadFeaturesLocked: readonly string[] | undefined;
  readonly cpusAllowed: bigint;
  readonly cpusAllowedList: readonly number[];
  /** Needs CONFIG_CPUSETS. */
  readonly memsAllowedList: readonly number[] | undefined;
}

export interface MemoryStatus {
  readonly peakKiB: number;
  readonly sizeKiB: number;
  readonly lockedKiB: number;
  readonly pinnedKiB: number;
  readonly residentPeakKiB: number;
  readonly residentKiB: number;
  readonly dataKiB: number;
  readonly stackKiB: number;
  readonly executableKiB: number;
  readonly pageTablesKiB: number;
  readonly swapKiB: number;
  /** Needs CONFIG_HUGETLB_PAGE. */
  readonly hugetlbKiB: number | undefined;
}

const FILE = 'status';
/** The largest CONFIG_NR_CPUS is 8192, the largest MAX_NUMNODES 1024. */

export const readStatus = (pid: Pid): ProcessStatus => parseStatus(readProcText(pid, 'status'));

export const readTaskStatus = (pid: Pid, tid: Tid): ProcessStatus =>
  parseStatus(readProcText(pid, `task/${tid}/status`));

/** Signals that a thread, and its process as a whole, have been sent and not taken: bit n - 1 is signal n. */
export function readPendingMasks(pid: Pid, tid: Tid): { readonly own: bigint; readonly shared: bigint } {
  const fields = new KeyedText(FILE, readProcText(pid, `task/${tid}/status`));
  return { own: fields.mask('SigPnd'), shared: fields.mask('ShdPnd') };
}

export function parseStatus(text: string): ProcessStatus {
  const fields = new KeyedText(FILE, text);
  return { ...identity(fields), ...memory(fields), ...signals(fields), ...privileges(fields), ...placement(fields) };
}

function identity(fields: KeyedText) {
  return {
    name: unescapeName(fields.text('Name')),
    umask: fields.ifPresent('Umask', (key) => parseOctal(FILE, key, fields.text(key))),
    state: parseState(fields.text('State')),
    tgid: asPid(fields.decimal('Tgid')),
    ngid: fields.decimal('Ngid'),
    pid: fields.decimal('Pid'),
    ppid: asPid(fields.decimal('PPid')),
    tracerPid: fields.decimal('TracerPid'),
    uid: parseCredentials(fields, 'Uid'),
    gid: parseCredentials(fields, 'Gid'),
    groups: fields.decimals('Groups'),
    fdSize: fields.decimal('FDSize'),
    nsTgid: fields.ifPresent('NStgid', (key) => fields.decimals(key)),
    nsPid: fields.ifPresent('NSpid', (key) => fields.decimals(key)),
    nsPgid: fields.ifPresent('NSpgid', (key) => fields.decimals(key)),
    nsSid: fields.ifPresent('NSsid', (key) => fields.decimals(key)),
    kernelThread: fields.ifPresent('Kthread', (key) => fields.flag(key)),
    threads: fields.decimal('Threads'),
  };
}

function memory(fields: KeyedText) {
  return {
    memory: fields.ifPresent('VmSize', () => parseMemory(fields)),
    coreDumping: fields.ifPresent('CoreDumping', (key) => fields.flag(key)),
    thpEnabled: fields.ifPresent('THP_enabled', (key) => fields.flag(key)),
    untagMask: fields.ifPresent('untag_mask', (key) => fields.mask(key)),
  };
}

function parseMemory(fields: KeyedText): MemoryStatus {
  return {
    peakKiB: fields.kib('VmPeak'),
    sizeKiB: fields.kib('VmSize'),
    lockedKiB: fields.kib('VmLck'),
    pinnedKiB: fields.kib('VmPin'),
    residentPeakKiB: fields.kib('VmHWM'),
    residentKiB: fields.kib('VmRSS'),
    dataKiB: fields.kib('VmData'),
    stackKiB: fields.kib('VmStk'),
    executableKiB: fields.kib('VmExe'),
    pageTablesKiB: fields.kib('VmPTE'),
    swapKiB: fields.kib('VmSwap'),
    hugetlbKiB: fields.ifPresent('HugetlbPages', (key) => fields.kib(key)),
  };
}

function signals(fields: KeyedText) {
  const [queued, limit] = fields.text('SigQ').split('/');
  return {
    signalQueue: { queued: parseDecimal(FILE, 'SigQ', queued), limit: parseDecimal(FILE, 'SigQ', limit) },
    pendingSignals: fields.mask('SigPnd'),
    sharedPendingSignals: fields.mask('ShdPnd'),
    blockedSignals: fields.mask('SigBlk'),
    ignoredSignals: fields.mask('SigIgn'),
    caughtSignals: fields.mask('SigCgt'),
  };
}

function privileges(fields: KeyedText) {
  return {
    capInheritable: fields.mask('CapInh'),
    capPermitted: fields.mask('CapPrm'),
    capEffective: fields.mask('CapEff'),
    capBounding: fields.mask('CapBnd'),
    capAmbient: fields.mask('CapAmb'),
    noNewPrivs: fields.flag('NoNewPrivs'),
    seccompMode: fields.ifPresent('Seccomp', (key) => fields.decimal(key)),
    seccompFilters: fields.ifPresent('Seccomp_filters', (key) => fields.decimal(key)),
    speculationStoreBypass: fields.optional('Speculation_Store_Bypass'),
    speculationIndirectBranch: fields.optional('SpeculationIndirectBranch'),
    x86ThreadFeatures: fields.ifPresent('x86_Thread_features', (key) => words(fields.text(key))),
    x86ThreadFeaturesLocked: fields.ifPresent('x86_Thread_features_locked', (key) => words(fields.text(key))),
  };
}

function placement(fields: KeyedText) {
  return {
    cpusAllowed: fields.mask('Cpus_allowed'),
    cpusAllowedList: parseList(FILE, 'Cpus_allowed_list', fields.text('Cpus_allowed_list')),
    memsAllowedList: fields.ifPresent('Mems_allowed_list', (key) => parseList(FILE, key, fields.text(key))),
  };
}

/**
 * Here, unlike in stat and comm, the kernel escapes newline and backslash (ESCAPE_SPACE | ESCAPE_SPECIAL of "\n\\").
 */
const unescapeName = (text: string): string =>
  text.replace(/\\([n\\])/g, (_, letter: string) => (letter === 'n' ? '\n' : '\\'));

function parseState(text: string): string {
  const letter = /^([A-Za-z]) \(/.exec(text)?.[1];
  if (letter === undefined) throw malformed(FILE, 'State', text);
  return letter;
}

function parseCredentials(fields: KeyedText, key: string): Credentials {
  const [real, effective, saved, filesystem, ...rest] = fields.decimals(key);
  if (real === undefined || effective === undefined || saved === undefined || filesystem === undefined || rest.length) {
    throw malformed(FILE, key, fields.text(key));
  }
  return { real, effective, saved, filesystem };
}
