/**
 * The records that hold the tree together: which process has which threads, memory and descriptors. What each piece of
 * state means is known to its kind alone; here it is only named.
 */
import * as v from 'valibot';
import { MAX_RELATIVES } from './page-chunk.ts';
import {
  boundedArray,
  boundedString,
  byteString,
  count,
  integerBetween,
  objectReference,
  PAGE_SIZE,
  pageAddress,
  u32,
  u64,
} from './schema.ts';

const MAX_TASK_ID = 1 << 22;
const taskId = integerBetween(1, MAX_TASK_ID);

/** 126 years; the kernel takes some more (KTIME_SEC_MAX). */
const MAX_CLOCK_NS = 4_000_000_000_000_000_000n;
const clockNs = v.pipe(u64, v.maxValue(MAX_CLOCK_NS, 'must be at most 126 years'));

/** Where the clocks of a tree stood, as it would have read them: time_namespaces(7). */
const ClocksRecord = v.strictObject({
  monotonicNs: clockNs,
  boottimeNs: clockNs,
  /** In another time namespace than the command that saved it. */
  apart: v.boolean(),
  /** The boot that they count from (random(4)); empty: not known. */
  bootId: boundedString(36),
});
export type ClocksRecord = v.InferOutput<typeof ClocksRecord>;

const MAX_VDSO_BYTES = 1 << 16;
const MAX_VDSO_DATA_PAGES = 64;

const VdsoRecord = v.strictObject({
  sha256: boundedString(64),
  /** The code itself, to be kept on another kernel. Images from before it do not have it, nor the next. */
  image: v.optional(byteString(MAX_VDSO_BYTES)),
  /** Pages of its data, without the zeros at their ends. */
  data: v.optional(
    boundedArray(v.strictObject({ address: pageAddress, bytes: byteString(PAGE_SIZE) }), MAX_VDSO_DATA_PAGES),
    [],
  ),
});
export type VdsoRecord = v.InferOutput<typeof VdsoRecord>;

/** A session or process group: the number of its leader, who may have ended. 0: it is seen from no pid namespace of ours. */
const groupId = integerBetween(0, MAX_TASK_ID);

/** SIGCHLD. */
const USUAL_EXIT_SIGNAL = 17;
const MAX_SIGNAL = 64;
const exitSignal = v.optional(integerBetween(0, MAX_SIGNAL), USUAL_EXIT_SIGNAL);

/**
 * Where a process stands in the tree: credentials(7). Images from before process trees have none of these: their process is
 * the root.
 */
const place = {
  /** Its parent, another process of the image; the root has none. */
  parent: v.optional(taskId),
  processGroup: v.optional(groupId),
  session: v.optional(groupId),
  /** The signal that tells its parent of its end (clone(2)); 0 for none. */
  exitSignal,
};

/** A thread that has a descriptor table, or a working directory, root and umask, which are not its leader's: clone(2), unshare(2). */
const ThreadApart = v.strictObject({
  tid: taskId,
  /** objref of the FILES record; missing: the leader's. */
  files: v.optional(objectReference),
  /** Missing: those of the leader. */
  fileSystem: v.optional(objectReference),
});
export type ThreadApart = v.InferOutput<typeof ThreadApart>;

/** TASK: one process, before any of its state. The record's objref is its pid. */
export const TaskRecord = v.strictObject({
  pid: taskId,
  comm: boundedString(64),
  ...place,
  /** Stopped by a signal (SIGSTOP and its kin, signal(7)); `unreported`: waitpid(2) has yet to tell its parent. */
  stopped: v.optional(v.picklist(['reported', 'unreported'])),
  /** The leader first, whose number is that of the process; without it if that has ended. */
  threads: v.pipe(boundedArray(taskId, MAX_TASK_ID), v.minLength(1, 'must have at least one entry')),
  /** The exit status of a leader that has ended before its threads. What is said of a leader elsewhere is said of the first of {@link threads} then. */
  leaderStatus: v.optional(integerBetween(0, 0xff)),
  /** objref of the MM, VMA and PGARR records: processes with the same one share the memory (CLONE_VM). */
  memory: objectReference,
  /**
   * Processes with the same one share what they do on signals (CLONE_SIGHAND; an object without a record of its own), and their memory
   * too. Missing: no other process has those of this one.
   */
  handlers: v.optional(objectReference),
  /** objref of the FILES record: tasks with the same one share the table. */
  files: objectReference,
  /**
   * Tasks with the same one share working directory, root and umask (an object without a record of its own). Missing: nobody shares
   * those of the leader but threads of its own.
   */
  fileSystem: v.optional(objectReference),
  apart: v.optional(boundedArray(ThreadApart, MAX_TASK_ID)),
  vdso: VdsoRecord,
  /** 32: a program of i386. Images from before those do not say it. */
  addressBits: v.optional(v.picklist([32, 64]), 64),
  /** Those bits of personality(2) that only execve(2) heeds. Images from before them do not say it. */
  layoutBits: v.optional(u32, 0),
  /** Of the root, and so of all. Images from before it do not say it. */
  clocks: v.optional(ClocksRecord),
  /** The command that the process ran to save itself: its child, which is not in the image. */
  saver: v.optional(v.strictObject({ pid: taskId, leads: v.picklist(['nothing', 'group', 'session']) })),
});
export type TaskRecord = v.InferOutput<typeof TaskRecord>;

/** EXITED: a process that has ended and whose parent, a process of the image, has not waited for it. */
export const ExitedRecord = v.strictObject({
  pid: taskId,
  comm: boundedString(64),
  ...place,
  parent: taskId,
  /** In the form of waitpid(2). */
  exitCode: integerBetween(0, 0xffff),
});
export type ExitedRecord = v.InferOutput<typeof ExitedRecord>;

/** States by the name of the aspect that they belong to. */
const states = v.record(boundedString(64), v.unknown());

/** TASK_STATE: what belongs to the process as a whole. The record's objref is its pid. */
export const TaskStateRecord = v.strictObject({ aspects: states });
export type TaskStateRecord = v.InferOutput<typeof TaskStateRecord>;

/** THREAD_STATE: one thread. The record's objref is its tid; its THREAD and CPU records follow. */
export const ThreadStateRecord = v.strictObject({
  signalMask: u64,
  /** How long the call in flight had lasted, in nanoseconds, as far as is known. Images from before it do not say it. */
  waitedNs: v.optional(u64, 0n),
  aspects: states,
});
export type ThreadStateRecord = v.InferOutput<typeof ThreadStateRecord>;

/** FNAME: a file that mappings refer to; `state` belongs to the kind. */
export const FileRecord = v.strictObject({ state: v.unknown() });

/** FD_DATA: an open file description. `contentBytes` of it are in PGARR records with the same objref. */
export const DescriptionRecord = v.strictObject({
  kind: boundedString(64),
  state: v.unknown(),
  contentBytes: count,
  /** Whom it signals, if anybody. */
  signals: v.optional(v.unknown()),
});
export type DescriptionRecord = v.InferOutput<typeof DescriptionRecord>;

const MAX_DESCRIPTOR = 2 ** 30;

/** FILES: a descriptor table. */
export const FilesRecord = v.strictObject({
  entries: boundedArray(
    v.strictObject({ fd: integerBetween(0, MAX_DESCRIPTOR), object: objectReference, closeOnExec: v.boolean() }),
    MAX_DESCRIPTOR,
  ),
});
export type FilesRecord = v.InferOutput<typeof FilesRecord>;

const MAX_MAPPINGS = 1 << 24;

const MAX_GUARDS = 1 << 20;

/** One mapping. `protection` is PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4 of mmap(2). */
export const MappingState = v.strictObject({
  start: pageAddress,
  end: pageAddress,
  protection: integerBetween(0, 7),
  offset: count,
  /** pkeys(7). Images from before them do not have it. */
  protectionKey: v.optional(integerBetween(0, 15), 0),
  /** Words of the VmFlags line that have to be set again. */
  flags: boundedArray(boundedString(2), 32),
  /** Pages of MADV_GUARD_INSTALL, ascending. Images from before them do not have it. */
  guards: v.optional(
    boundedArray(v.strictObject({ start: pageAddress, pages: integerBetween(1, 2 ** 35) }), MAX_GUARDS),
    [],
  ),
  kind: boundedString(64),
  state: v.unknown(),
  /** The image carries pages of it. */
  hasPages: v.boolean(),
});
export type MappingState = v.InferOutput<typeof MappingState>;

/** VMA: mappings of one memory, ascending. A large memory has several of these records. */
export const VmaRecord = v.strictObject({ mappings: boundedArray(MappingState, MAX_MAPPINGS) });

/** MM: what is known of one memory before its mappings. */
export const MemoryRecord = v.strictObject({
  mappings: u32,
  pages: count,
  /** Bit n: protection key n is allocated. Images from before keys do not have it, nor the next. */
  allocatedKeys: v.optional(v.pipe(u32, v.maxValue(0xfffe), v.multipleOf(2)), 0),
  /** The key that the kernel has taken for memory that can only be executed; 0 for none. */
  executeOnlyKey: v.optional(integerBetween(0, 15), 0),
  /** Memories of this image, of processes before this one, that runs of the kind `relative` are pages of, by their places here. */
  relatives: v.optional(boundedArray(objectReference, MAX_RELATIVES), []),
  /** Only in an incremental image: the memory, in the parent image, that runs of the kind `parent` are pages of. */
  parent: v.optional(objectReference),
});
export type MemoryRecord = v.InferOutput<typeof MemoryRecord>;
