/**
 * The contract of everything that is saved and restored. A kind is one file that says what its state is (schema), how it
 * is read from a stopped process (collect) and how it is made again (restore). `registry.ts` lists all kinds; the pipelines
 * know none of them by name.
 *
 * collect has two steps, so that the calls of many kinds share one round trip to the agent: the function adds its calls to
 * the batch, and what it returns reads the answers once the batch has run.
 */
import type { GenericSchema } from 'valibot';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { Descriptor } from '../procfs/descriptors.ts';
import type { Fdinfo } from '../procfs/fdinfo.ts';
import type { Holder } from '../procfs/holders.ts';
import type { Mapping, MapsEntry } from '../procfs/smaps.ts';
import type { ProcessStat } from '../procfs/stat.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import type { LocalFd, Pid, RemoteFd, Tid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import type { CallBatch } from '../tracee/call-batch.ts';
import type { AioRing } from './aio-room.ts';
import type { ConnectionKeeper, RestoredConnections } from './connection-keeper.ts';
import type { OutsidePolicy } from './outside-policy.ts';

/** A schema whose parsed form is `State`. */
export type StateSchema<State> = GenericSchema<unknown, State>;

// ---------------------------------------------------------------------------------------------------------- saving

/** What can be seen of a process from outside, running or stopped. */
export interface ProcessView {
  readonly pid: Pid;
  /**
   * The thread by whose number /proc and the kernel show what its threads share: its leader, or another one if that has ended.
   * {@link pid} shows none of it then.
   */
  readonly speaker: Pid;
  /** The leader has ended with this exit status, and other threads go on (pthread_exit(3) in main()). */
  readonly leaderStatus?: number | undefined;
  readonly status: ProcessStatus;
  readonly stat: ProcessStat;
  /** Those that live, ascending. */
  readonly tids: readonly Tid[];
  /** A program of i386: its memory ends below 4 GiB. */
  readonly is32Bit: boolean;
}

/** A stopped process with the agent in it. */
export interface CollectedProcess extends ProcessView {
  /** Who has more to ask than fits runs it in between. */
  readonly batch: CallBatch;
  readonly leader: Tid;
  /** Of the tree that is saved. */
  readonly isRoot: boolean;
  /** VmFlags (proc_pid_smaps(5)) that the kernel gives to any mapping made in it now: those of ours. */
  readonly flagsOfNewMappings: readonly string[];
  readonly files: FileReferences;
  /** Its mappings, ours left out, [vsyscall] included. */
  readonly mappings: readonly Mapping[];
}

/** A mapped file as /proc/PID/maps shows it: on some file systems (btrfs) another device than stat(2) tells. */
export type ShownFile = Pick<MapsEntry, 'device' | 'inode'>;

/** Files that mappings and the executable link name: each is one object of the image. */
export interface FileReferences {
  /** The object for the file behind `link` (a link in /proc, such as /proc/PID/exe); `shown` is what maps says of it. */
  reference(link: string, path: string, writable?: boolean, shown?: ShownFile): number;
  /** The object for a file without a name: a description that no descriptor need have, with its bytes. */
  object(link: string, path: string, writable: boolean): number;
  /** The object for an open file description of the tree, of a kind that {@link DescriptorKind.isMapped}: by its inode. */
  described(inode: bigint): number;
}

export interface CollectedThread extends Pick<ProcessView, 'pid' | 'speaker'> {
  readonly tid: Tid;
  readonly is32Bit: boolean;
  readonly batch: CallBatch;
}

/** Two steps: called with the batch still open; the result is called when it has run. */
export type Collector<Source, State> = (source: Source) => () => State;

// -------------------------------------------------------------------------------------------------------- restoring

/** What the plan may ask of this host. Only questions: nothing is changed. */
export interface HostView {
  readonly ownPid: Pid;
  readonly status: ProcessStatus;
  readonly acceptChangedFiles: boolean;
  /** False if the restart command, the parent, ends as soon as the process runs. */
  readonly keepsParent: boolean;
  /** It is asked of a program that runs here: what that has itself is not in its way. Default: false. */
  readonly programRuns?: boolean;
  /** Linux 6.15. */
  readonly maySetTimerNumbers: boolean;
}

export interface RebuiltProcess {
  readonly pid: Pid;
  readonly is32Bit: boolean;
  readonly batch: CallBatch;
  /** The descriptor, in the process being rebuilt, of a file object of the image. */
  remoteFile(objref: number): number;
  /** For what would outlive the process. */
  onFailure(undo: () => void): void;
}

export interface RebuiltThread {
  /** False if the restart command, its parent, is about to end: nobody's death is meant by that. */
  readonly keepsParent: boolean;
  readonly pid: Pid;
  readonly tid: Tid;
  readonly is32Bit: boolean;
  readonly batch: CallBatch;
}

// ------------------------------------------------------------------------------------------------------------ kinds

/** Lines of /proc/PID/cgroup without the number of the hierarchy. */
export interface ProcessCgroups {
  readonly cgroups: readonly string[];
  /** Threads that are in others than their process. */
  readonly threads: readonly { readonly tid: number; readonly cgroups: readonly string[] }[];
}

/** One piece of the state of a process. */
export interface ProcessAspect<State> {
  /** Key in the image, and name in messages. */
  readonly name: string;
  readonly schema: StateSchema<State>;
  /** What stands in the way of saving it, seen from outside. */
  readonly obstacles?: (process: ProcessView) => Problem[];
  readonly collect: Collector<CollectedProcess, NoInfer<State>>;
  /** What this command itself has of it: for streams of other formats that do not say what the program had. */
  readonly ofCommand?: (host: HostView) => NoInfer<State>;
  /** What stands in the way of restoring it on this host. */
  readonly plan?: (state: NoInfer<State>, host: HostView, pid: Pid) => Problem[];
  /** File objects that it refers to: each must be in the image. */
  readonly filesOf?: (state: NoInfer<State>) => readonly number[];
  /** The cgroups that it was in: it is put there as soon as it is made. */
  readonly cgroupsOf?: (state: NoInfer<State>) => ProcessCgroups;
  /**
   * `early`: before memory and descriptors are made. `memory`: when the mappings stand and their files are still open.
   * `late`: when all else stands, just before the agent leaves.
   */
  readonly stage: 'early' | 'memory' | 'late';
  /** What processes that share their memory, or what they do on signals (clone(2)), have together: it is restored in one of them. Default: its own. */
  readonly belongsTo?: 'memory' | 'handlers';
  readonly restore: (state: NoInfer<State>, process: RebuiltProcess) => void;
  /** Called last, in every thread, for what takes rights away that all before may need. */
  readonly finish?: (state: NoInfer<State>, thread: Pick<RebuiltThread, 'batch'>) => void;
  /** A sentence for the summary of a save, where something of it is not in the image. */
  readonly loss?: (state: NoInfer<State>, pid: Pid) => string | undefined;
  /**
   * A sentence for the summary of a restart, where something comes back otherwise than it was. `leads`: it is the leader that some object
   * of the image begins in ({@link DescriptorKind.leaderOf}).
   */
  readonly remark?: (state: NoInfer<State>, pid: Pid, host: HostView, leads?: boolean) => string | undefined;
}

/** One piece of the state of a thread. Registers are not an aspect: they have records of their own. */
export interface ThreadAspect<State> {
  readonly name: string;
  readonly schema: StateSchema<State>;
  /** What stands in the way of saving it, seen from outside. */
  readonly obstacles?: (thread: Pick<CollectedThread, 'pid' | 'tid' | 'speaker'>) => Problem[];
  readonly collect: Collector<CollectedThread, NoInfer<State>>;
  /** As that of a process. */
  readonly ofCommand?: (host: HostView) => NoInfer<State>;
  readonly plan?: (state: NoInfer<State>, host: HostView, tid: Tid) => Problem[];
  readonly restore: (state: NoInfer<State>, thread: RebuiltThread) => void;
  /** Addresses where the kernel itself reads or writes for the thread. */
  readonly touches?: (state: NoInfer<State>) => readonly bigint[];
  /** Calls of ours would meet it: seccomp is suspended in the process before {@link bequeath}, until it goes on by itself. */
  readonly needsSuspendedSeccomp?: (state: NoInfer<State>) => boolean;
  /**
   * Called in the leader before the process has other threads, with the states of all of them, the leader's first: what they only share
   * by being born with it.
   */
  readonly bequeath?: (states: readonly NoInfer<State>[], leader: Pick<RebuiltThread, 'batch'>) => void;
  /** Called when all else of the thread stands, just before its rights are taken away; the states as for {@link bequeath}. */
  readonly finish?: (
    state: NoInfer<State>,
    thread: Pick<RebuiltThread, 'batch'>,
    states: readonly NoInfer<State>[],
  ) => void;
  /** A sentence for the summary of a save, where something of it is not in the image. */
  readonly loss?: (state: NoInfer<State>, tid: Tid) => string | undefined;
  /** A sentence for the summary of a restart, where something comes back otherwise than it was. */
  readonly remark?: (state: NoInfer<State>, host: HostView, tid: Tid) => string | undefined;
}

/** A descriptor of a process of the tree. */
export interface DescriptorHolder {
  readonly pid: Pid;
  readonly fd: RemoteFd;
}

/** What a descriptor kind sees of one open file description. */
export interface DescriptorView extends DescriptorHolder {
  readonly descriptor: Descriptor;
  readonly info: Fdinfo;
  /** File type bits and device numbers, as stat(2) gives them. */
  readonly stat: DescriptorStat;
  /** All descriptor numbers of the process that share this open file description, ascending. */
  readonly numbers: readonly RemoteFd[];
  /** Every descriptor of the tree that shares it, that process's first. */
  readonly holders: readonly DescriptorHolder[];
  /** All processes of the tree, with descriptors or without. */
  readonly tree: ReadonlySet<number>;
  /** All open file descriptions of the tree: to find the other end of something. */
  readonly siblings: readonly DescriptorView[];
  /** Of pipes, sockets, terminals and objects without a name (anon_inode): processes outside of the saved tree that have it open too. */
  readonly outsiders: readonly Holder[];
  /** Nobody has it under a number: it waits in the queue of this socket (SCM_RIGHTS, unix(7)). `pid` and `fd` are our own duplicate's then. */
  readonly inFlightTo?: DescriptorHolder | undefined;
  /** Queues have been looked into, and what is in flight is among the {@link siblings}: only while the tree stands still. */
  readonly queuesSeen: boolean;
  /** What this save does about other ends that are outside. */
  readonly outside: OutsidePolicy;
}

/** What is known of a descriptor before it is known which open file descriptions the tree has. */
export type LoneDescriptor = Pick<DescriptorView, 'pid' | 'fd' | 'descriptor' | 'info' | 'stat'>;

export interface DescriptorStat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly device: number;
  readonly inode: bigint;
  readonly rawDevice: number;
  readonly sizeBytes: bigint;
  readonly modifiedNs: bigint;
  readonly links: bigint;
}

/** The duplicate of a target's descriptor: the same open file description, in our table. */
export interface OpenDescriptor extends DescriptorView {
  readonly own: LocalFd;
  /** What this save does about connections to others. */
  readonly connections: ConnectionKeeper;
  /** The object of the image that one of those is which {@link DescriptorKind.carried} has found. */
  objectInFlight(own: LocalFd): number;
}

export interface RestoredDescriptors {
  /** What {@link DescriptorKind.restore} of another object has made, when all are made. */
  object(objref: number): LocalFd;
  /** Something that several objects of the image are made from: made for the first that asks. */
  shared<T>(key: string, make: () => T): T;
  /** One of the standard streams of the restart command. */
  standardStream(number: 0 | 1 | 2): LocalFd;
  /**
   * The process with this number, if it is one of those that are being restarted: for objects that remember who has made
   * them. Its descriptors are not in place yet: what is made there is taken out again (pidfd_getfd(2)) and closed.
   */
  process(pid: number): RebuiltProcess | undefined;
  /** The root of the tree: for what some process of it has to make, and who does is all the same. */
  root(): RebuiltProcess;
  /** What is to be undone if the restart fails, of what outlives its processes. Called when they have ended. */
  onFailure(undo: () => void): void;
  /** Those that are held silent until everything is in place. */
  readonly connections: RestoredConnections;
}

/** One kind of open file description. */
export interface DescriptorKind<State> {
  readonly kind: string;
  readonly schema: StateSchema<State>;
  readonly recognise: (view: DescriptorView) => boolean;
  /** Descriptors that share an open file description are not kept together: each becomes an object. Default: false. */
  readonly eachNumberApart?: boolean;
  /**
   * Descriptors that wait in it to be received: duplicates of ours, for the caller to close. Asked of all, while the tree stands still. `all`:
   * those of the tree that have been seen until then, by which it may know them.
   */
  readonly carried?: (one: LoneDescriptor, all: readonly LoneDescriptor[]) => OwnedFd[];
  /** Reasons why this one, although of this kind, cannot be saved. */
  readonly obstacles?: (view: DescriptorView) => Problem[];
  readonly collect: (open: OpenDescriptor) => NoInfer<State>;
  /**
   * Collected only while the process stands still, and planned only when it is gone, because it has itself what would be in the way: `check PID`
   * leaves both out. Default: false.
   */
  readonly needsRest?: boolean;
  /** Mappings are of the object itself: those that {@link FileReferences.described} stands for. Default: false. */
  readonly isMapped?: boolean;
  /** The kernel does not pass it in messages (SCM_RIGHTS, unix(7)): a process takes it from us by pidfd_getfd(2). Default: false. */
  readonly passesByHandle?: boolean;
  /** Bytes of the object itself that the image carries: they are read from and written to it by position. Default: none. */
  readonly contentBytes?: (state: NoInfer<State>) => number;
  readonly plan?: (state: NoInfer<State>, host: HostView, path: readonly string[]) => Problem[];
  /** In {@link finish} the kernel takes hold of memory of the process: none of its pages may come later. Default: false. */
  readonly touchesMemory?: (state: NoInfer<State>) => boolean;
  /** How many huge pages of the host's pool it takes, and of which size; undefined if it is of other pages. */
  readonly hugePages?: (state: NoInfer<State>) => { readonly pageBytes: number; readonly pages: number } | undefined;
  /** Descriptor numbers of the process that it refers to: each must be in the image. */
  readonly descriptorsOf?: (state: NoInfer<State>) => readonly number[];
  /** Open file descriptions that wait in it: each must be in the image. */
  readonly objectsOf?: (state: NoInfer<State>) => readonly number[];
  /** The highest descriptor number that {@link finish} uses, beside those that are in the image. */
  readonly highestNumber?: (state: NoInfer<State>) => number;
  /** Of what mappings attach (shmat(2)) instead of mapping it: its id, and how large it is. */
  readonly segment?: (state: NoInfer<State>) => AttachedSegment;
  /** Makes the object in our table, to be handed over. */
  readonly restore: (state: NoInfer<State>, world: RestoredDescriptors) => OwnedFd;
  /** Where {@link contentBytes} go: something that can be written whatever the descriptor's own mode is. */
  readonly contentTarget?: (state: NoInfer<State>, world: RestoredDescriptors) => OwnedFd;
  /**
   * Called when all objects are made and content is in them: what would have been in the way of that, or needs other objects. `own` is
   * what {@link restore} has made.
   */
  readonly settle?: (state: NoInfer<State>, own: LocalFd, world: RestoredDescriptors) => void;
  /** The session leader that {@link begin} and {@link finish} are called in, whether it has the descriptor or not (then -1). */
  readonly leaderOf?: (state: NoInfer<State>) => number | undefined;
  /** Called in that leader before it has children: what a process only gets by being born to one that has it. */
  readonly begin?: (state: NoInfer<State>, process: RebuiltProcess, world: RestoredDescriptors) => void;
  /**
   * Calls inside the process, once all descriptors are in place and this one at `fd`: what belongs to the process, or refers
   * to other descriptors. Who has more to ask than fits runs the batch in between.
   */
  readonly finish?: (state: NoInfer<State>, process: RebuiltProcess, fd: RemoteFd) => void;
  /**
   * A sentence for the summary, where the object comes back as something else than it was. The summary of a save has no host:
   * nobody knows yet where the restart will be.
   */
  readonly remark?: (state: NoInfer<State>, fd: RemoteFd, host: HostView | undefined) => string | undefined;
}

export interface AttachedSegment {
  readonly id: number;
  /** Not rounded up to pages. */
  readonly sizeBytes: number;
}

/** A mapping of a process of the tree. */
export interface MappingOfTree {
  readonly pid: Pid;
  readonly mapping: Mapping;
}

/** Which pages of a mapping the image carries. */
export type PagePolicy = 'none' | 'all-present' | 'differing-from-file';

/** How the mapping is made again: the arguments of mmap(2) that the kind decides. */
export interface MappingPlan {
  readonly flags: number;
  /** The file object behind it, 0 for none. */
  readonly file: number;
  /** That object is a description: of a kind whose content the image carries, or that {@link DescriptorKind.isMapped}. */
  readonly nameless?: boolean;
  /** That object is a segment: this is a part of it that is made by shmat(2), and {@link flags} have no meaning. */
  readonly attach?: { readonly readOnly: boolean };
  /** The kernel alone chooses the place: mmap(2) of it takes no address. */
  readonly placedByKernel?: boolean;
  /** It is made by io_setup(2), and {@link flags} have no meaning. */
  readonly aio?: AioRing;
  /** Its pages are of this size, of hugetlbfs: it begins and ends with one, and takes all that it has room for from the pool. */
  readonly hugePageBytes?: number;
  /** A name for PR_SET_VMA, '' for none. */
  readonly name: string;
}

/** One kind of mapping. Its state is in the `backing` of the VMA record. */
export interface MappingKind<State> {
  readonly kind: string;
  readonly schema: StateSchema<State>;
  readonly recognise: (mapping: Mapping) => boolean;
  readonly obstacles?: (mapping: Mapping) => Problem[];
  /** What only all mappings of this kind in the tree together show. */
  readonly treeObstacles?: (mappings: readonly MappingOfTree[], tree: ReadonlySet<number>) => Problem[];
  readonly pages: PagePolicy;
  /** Words of VmFlags that its mappings have by themselves, and no other kind may have. */
  readonly ownWords?: readonly string[];
  /** A fork of the process might take its pages away: its writes are not tracked, and no snapshot is made of the process. Default: false. */
  readonly isUnforkable?: boolean;
  /** The kernel counts its mappings and tells the program: our copy of the process is not to be counted. Default: false. */
  readonly isCounted?: boolean;
  readonly collect: (mapping: Mapping, process: CollectedProcess) => NoInfer<State>;
  /** Undefined: not made by mmap, but moved to its place (vDSO) or always there (vsyscall). */
  readonly mapping: (state: NoInfer<State>) => MappingPlan | undefined;
}
