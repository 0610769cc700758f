/** What watches a directory by fcntl(2), F_NOTIFY (dnotify): in the kernel's own structs, as no call asks for it (fs/notify/dnotify/dnotify.c). */
import type { LocalFd } from '../support/brand.ts';
import { KernelObjects, UnknownKernelObject } from './kernel-objects.ts';

const MOST = 4096;

/** Whether this open file description asks for signals. Undefined where the kernel does not show it. */
export function tryIsNotified(own: LocalFd): boolean | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    const file = kernel.fileOf(own);
    const watched = kernel.u64('inode', file.u64('f_inode'), 'i_fsnotify_marks');
    return watched !== 0n && marksOf(kernel, watched).some((mark) => isNotifiedBy(kernel, mark, file.address));
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

function marksOf(kernel: KernelObjects, connector: bigint): bigint[] {
  const link = BigInt(kernel.offsetOf('fsnotify_mark', 'obj_list'));
  const found: bigint[] = [];
  // A list of struct hlist_node: the last has no next.
  for (let next = kernel.u64('fsnotify_mark_connector', connector, 'list'); next !== 0n; next = kernel.pointer(next)) {
    if (found.length === MOST) throw new UnknownKernelObject('the marks of a file have no end');
    found.push(next - link);
  }
  return found;
}

/** A mark of another kind has something else where one of dnotify has its list: what that leads to is no directory of ours. */
function isNotifiedBy(kernel: KernelObjects, mark: bigint, file: bigint): boolean {
  try {
    let next = kernel.u64('dnotify_mark', mark, 'dn');
    for (let length = 0; next !== 0n && length < MOST; length++) {
      const entry = kernel.struct('dnotify_struct', next);
      if (entry.u64('dn_filp') === file) return true;
      next = entry.u64('dn_next');
    }
  } catch (error) {
    if (!(error instanceof UnknownKernelObject)) throw error;
  }
  return false;
}
