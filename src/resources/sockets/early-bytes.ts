/**
 * What has been sent on a connection that nobody has accepted yet. It waits in a socket that no process has, so it is read where the kernel keeps it (sk_buff), and sent
 * again by the same process when the connection waits again. Only what stands in one piece can be read so: messages of less than a page without
 * descriptors.
 */
import { KernelObjects, type KernelStruct, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import type { LocalFd, Pid } from '../../support/brand.ts';

/** Of one of ours; undefined where it cannot be read, or could not be sent again as it was. */
export function tryReadEarly(own: LocalFd, pid: Pid): Buffer[] | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    return readEarly(kernel, own, pid);
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

/** A page has less room for them. */
const MAX_MESSAGE = 4096;
const MAX_MESSAGES = 4096;

function readEarly(kernel: KernelObjects, own: LocalFd, pid: Pid): Buffer[] | undefined {
  const socket = kernel.u64('socket', kernel.fileOf(own).u64('private_data'), 'sk');
  const other = kernel.u64('unix_sock', socket, 'peer');
  if (other === 0n) return undefined;
  const queue = other + BigInt(kernel.offsetOf('sock', 'sk_receive_queue'));
  const found: Buffer[] = [];
  for (let next = kernel.pointer(queue); next !== queue; next = kernel.pointer(next)) {
    const message = kernel.struct('sk_buff', next);
    const bytes = found.length < MAX_MESSAGES && isPlain(kernel, message, pid) ? bytesOf(kernel, message) : undefined;
    if (bytes === undefined) return undefined;
    found.push(bytes);
  }
  return found;
}

/** Sent by the process itself, without descriptors, and nobody has taken any of it. */
function isPlain(kernel: KernelObjects, message: KernelStruct, pid: Pid): boolean {
  const parameters = kernel.struct('unix_skb_parms', message.address + BigInt(message.offsetOf('cb')));
  const sender = parameters.u64('pid');
  const isOwn = sender === 0n || kernel.numberOfPid(sender) === pid;
  return isOwn && parameters.u64('fp') === 0n && parameters.u32('consumed') === 0;
}

function bytesOf(kernel: KernelObjects, message: KernelStruct): Buffer | undefined {
  const length = message.u32('len');
  if (message.u32('data_len') !== 0 || length > MAX_MESSAGE) return undefined;
  return kernel.bytes(message.u64('data'), length);
}
