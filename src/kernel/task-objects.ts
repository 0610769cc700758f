/**
 * What of the tasks of a process no file of /proc and no call shows: their Landlock domain, I/O privilege level, rings of requests that are only registered,
 * and adjustments of System V semaphores (SEM_UNDO).
 */
import type { Pid } from '../support/brand.ts';
import { LSM } from './abi/lsm.ts';
import { tryOpenPidfd } from './calls/descriptors.ts';
import { hasLandlock, KEEPS_CREDENTIALS, tryListModules } from './calls/security-modules.ts';
import { KernelObjects, UnknownKernelObject } from './kernel-objects.ts';

export interface HiddenTask {
  /** Its number: looked up when it is asked for. */
  readonly number: () => number;
  /** Undefined: not known. */
  readonly inLandlock: boolean | undefined;
  /** iopl(2): 0 to 3. */
  readonly portLevel: number;
  /** Rings that are registered (IORING_REGISTER_RING_FDS), and of which the process has no descriptor. */
  readonly hiddenRings: number;
  /** Where its adjustments are kept; 0n for none. Threads share them, as a rule. */
  readonly undoList: bigint;
}

/** Of each thread that lives, the leader first. Undefined where the kernel shows none of it, or the process has ended. */
export function tryReadHidden(pid: Pid): HiddenTask[] | undefined {
  const kernel = KernelObjects.tryOpen();
  const pidfd = kernel === undefined ? undefined : tryOpenPidfd(pid);
  if (kernel === undefined || pidfd === undefined) return undefined;
  try {
    const sandboxes = new Map<bigint, boolean | undefined>();
    return kernel.threadsOf(kernel.taskBehind(pidfd.number)).flatMap((task) => readTask(kernel, task, sandboxes));
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  } finally {
    pidfd.close();
  }
}

/** Those of its members that a kernel has not are read as another one, and not heeded. */
function readTask(kernel: KernelObjects, task: bigint, sandboxes: Map<bigint, boolean | undefined>): HiddenTask[] {
  const at = (...path: (readonly [struct: string, field: string])[]): bigint =>
    path.every(([struct, field]) => kernel.has(struct, field))
      ? task + BigInt(path.reduce((sum, [struct, field]) => sum + kernel.offsetOf(struct, field), 0))
      : 0n;
  const places = [
    at(['task_struct', 'mm']),
    at(['task_struct', 'cred']),
    at(['task_struct', 'sysvsem'], ['sysv_sem', 'undo_list']),
    at(['task_struct', 'io_uring']),
    at(['task_struct', 'thread'], ['thread_struct', 'iopl_emul']),
  ];
  const read = kernel.words(places.map((place) => (place === 0n ? task : place)));
  const [memory = 0n, credentials = 0n, undoList = 0n, rings = 0n, ports = 0n] = read.map((word, index) =>
    places[index] === 0n ? 0n : word,
  );
  // A leader that has ended before its threads has none of it any more.
  if (memory === 0n) return [];
  // Threads have the same credentials, as a rule.
  if (!sandboxes.has(credentials)) sandboxes.set(credentials, isInLandlock(kernel, credentials));
  return [
    {
      number: () => kernel.numberOfTask(task),
      inLandlock: sandboxes.get(credentials),
      portLevel: Number(ports),
      hiddenRings: hiddenRingsOf(kernel, task, rings),
      undoList,
    },
  ];
}

function isInLandlock(kernel: KernelObjects, credentials: bigint): boolean | undefined {
  const place = landlockPlace(kernel);
  if (typeof place !== 'number') return place === 'none' ? false : undefined;
  const security = kernel.u64('cred', credentials, 'security');
  return security !== 0n && kernel.pointer(security + BigInt(place)) !== 0n;
}

let place: number | 'none' | 'unknown' | undefined;

/** Where in what security modules keep with credentials the pointer to the domain is: where Landlock's begins, by its own word or because it is the first. */
function landlockPlace(kernel: KernelObjects): number | 'none' | 'unknown' {
  place ??= findLandlockPlace(kernel);
  return place;
}

function findLandlockPlace(kernel: KernelObjects): number | 'none' | 'unknown' {
  if (!hasLandlock()) return 'none';
  if (!kernel.has('landlock_cred_security', 'domain')) return 'unknown';
  const within = kernel.offsetOf('landlock_cred_security', 'domain');
  const keepers = tryListModules()?.filter((id) => KEEPS_CREDENTIALS.includes(id));
  if (keepers?.[0] === LSM.LSM_ID_LANDLOCK) return within;
  const sizes = kernel.tryAddressOf('landlock_blob_sizes');
  return sizes === undefined ? 'unknown' : kernel.struct('lsm_blob_sizes', sizes).u32('lbs_cred') + within;
}

/** IO_RINGFD_REG_MAX of the kernel. */
const REGISTERED_RINGS = 16;

function hiddenRingsOf(kernel: KernelObjects, task: bigint, context: bigint): number {
  if (context === 0n || !kernel.has('io_uring_task', 'registered_rings')) return 0;
  const rings = kernel
    .pointers(context + BigInt(kernel.offsetOf('io_uring_task', 'registered_rings')), REGISTERED_RINGS)
    .filter((file) => file !== 0n);
  if (rings.length === 0) return 0;
  const open = kernel.filesOfTask(task);
  return rings.filter((file) => !open.has(file)).length;
}

/** What a process has to be undone in one set of System V semaphores when it ends: semop(2), SEM_UNDO. */
export interface UndoEntry {
  /** Of the set. */
  readonly id: number;
  /** What is added to each semaphore that has any. */
  readonly adjustments: { readonly index: number; readonly value: number }[];
}

/** Those in the list of a task that stands still. Sets that have been removed meanwhile are left out. `sizeOf`: how many semaphores a set has. */
export function tryReadUndo(undoList: bigint, sizeOf: (id: number) => number | undefined): UndoEntry[] | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    const head = kernel.struct('sem_undo_list', undoList);
    return kernel.addressesIn(head, 'list_proc', 'sem_undo', 'list_proc').flatMap((address) => {
      const entry = kernel.struct('sem_undo', address);
      const id = entry.u32('semid');
      const size = sizeOf(id);
      if (size === undefined) return [];
      const values = kernel.bytes(undoValues(kernel, entry.address), 2 * size);
      const adjustments = Array.from({ length: size }, (_, index) => ({ index, value: values.readInt16LE(2 * index) }));
      const some = adjustments.filter(({ value }) => value !== 0);
      return some.length === 0 ? [] : [{ id, adjustments: some }];
    });
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

/** An array at the end of the struct; a pointer to one in older kernels, which is aligned as pointers are. */
function undoValues(kernel: KernelObjects, entry: bigint): bigint {
  const offset = kernel.offsetOf('sem_undo', 'semadj');
  const at = entry + BigInt(offset);
  return offset === kernel.offsetOf('sem_undo', 'semid') + 4 ? at : kernel.pointer(at);
}

/** How many tasks have this list. */
export function tryCountSharers(undoList: bigint): number | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    return kernel.struct('sem_undo_list', undoList).u32('refcnt');
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}
