/** What waits in a socket, read where the kernel keeps it (struct sk_buff; {@link KernelObjects}): for sockets that no process has, which no call looks into. */
import { type KernelObjects, type KernelStruct, UnknownKernelObject } from '../kernel-objects.ts';
import { KernelPages } from '../kernel-pages.ts';

const MAX_BUFFERS = 1 << 16;
const MAX_BYTES = 1 << 28;

/** sk_receive_queue of a struct sock. */
export function receiveQueueOf(kernel: KernelObjects, socket: bigint): KernelStruct[] {
  const queue = socket + BigInt(kernel.offsetOf('sock', 'sk_receive_queue'));
  const found: KernelStruct[] = [];
  let sizeBytes = 0;
  for (let next = kernel.pointer(queue); next !== queue; ) {
    const buffer = kernel.struct('sk_buff', next);
    sizeBytes += buffer.u32('len');
    if (found.length === MAX_BUFFERS || sizeBytes > MAX_BYTES) throw new UnknownKernelObject('a queue has no end');
    found.push(buffer);
    next = buffer.u64('next');
  }
  return found;
}

/** All bytes of one. What is long stands in pages of its own behind the first bytes. */
export function bytesOf(kernel: KernelObjects, buffer: KernelStruct): Buffer {
  const apart = buffer.u32('data_len');
  const head = kernel.bytes(buffer.u64('data'), buffer.u32('len') - apart);
  if (apart === 0) return head;
  const shared = kernel.struct('skb_shared_info', buffer.u64('head') + BigInt(buffer.u32('end')));
  if (shared.u64('frag_list') !== 0n) throw new UnknownKernelObject('a message is a list of others');
  pages ??= KernelPages.find(kernel);
  const pieces = [head];
  for (let index = 0; index < shared.u8('nr_frags'); index++) pieces.push(pieceOf(kernel, shared, index, pages));
  const whole = Buffer.concat(pieces);
  if (whole.length !== buffer.u32('len')) throw new UnknownKernelObject('a message is not as long as it says');
  return whole;
}

let pages: KernelPages | undefined;

/** skb_frag_t: a struct of its own since Linux 6.9, before that a bio_vec. */
function pieceOf(kernel: KernelObjects, shared: KernelStruct, index: number, map: KernelPages): Buffer {
  const [name, page, length, offset] = kernel.has('skb_frag', 'len')
    ? ['skb_frag', 'netmem', 'len', 'offset']
    : ['bio_vec', 'bv_page', 'bv_len', 'bv_offset'];
  const start = shared.address + BigInt(shared.offsetOf('frags') + index * kernel.sizeOf(name));
  const piece = kernel.struct(name, start);
  return kernel.bytes(map.addressOf(piece.u64(page)) + BigInt(piece.u32(offset)), piece.u32(length));
}

/** The struct sock behind a descriptor of ours. */
export const socketBehind = (kernel: KernelObjects, file: KernelStruct): bigint =>
  kernel.u64('socket', file.u64('private_data'), 'sk');
