/**
 * The data pages of a vDSO ([vvar] and its relatives of vdso(7)). No other process can read them: they are no memory of the
 * kernel's page tables for processes (VM_PFNMAP), which process_vm_readv(2) and /proc/PID/mem refuse. The process itself can, and so
 * the agent writes them, by process_vm_writev(2), from there into its own mailbox.
 */
import { ERRNO } from '../kernel/abi/errno.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { check } from '../kernel/errors.ts';
import { type RemoteAddress, remoteAddress } from '../support/brand.ts';
import type { CallBatch } from './call-batch.ts';
import type { AddressRange } from './vdso-site.ts';

export interface DataPage {
  readonly address: RemoteAddress;
  /** Without the zeros at its end. */
  readonly bytes: Buffer;
}

const PAGE = 4096;
const IOVEC = 16;
const CALL_BYTES = PAGE + 2 * IOVEC;
/** The kernel writes to them some hundred times a second. */
const ATTEMPTS = 16;

/** Its code and its data, by name: how many they are and in which order they stand differs between kernels. */
export const isVdsoMapping = (name: string | undefined): boolean =>
  name !== undefined && /^\[(vdso|vvar\w*)\]$/.test(name);

/** The pages that there are: some only exist on certain machines. */
export function readVdsoData(batch: CallBatch, ranges: readonly AddressRange[]): DataPage[] {
  const addresses = ranges.flatMap(({ start, end }) =>
    Array.from({ length: (end - start) / PAGE }, (_, index) => remoteAddress(start + index * PAGE)),
  );
  let now = readPages(batch, addresses);
  // Until two copies are equal: the kernel does not stand still with the process.
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = now;
    now = readPages(batch, [...before.keys()]);
    if ([...now].every(([address, bytes]) => before.get(address)?.equals(bytes))) break;
  }
  return [...now].map(([address, bytes]) => ({ address, bytes: withoutTrailingZeros(bytes) }));
}

function readPages(batch: CallBatch, addresses: readonly RemoteAddress[]): Map<RemoteAddress, Buffer> {
  const asked = new Map<RemoteAddress, () => Buffer | undefined>();
  for (const address of addresses) {
    if (!batch.hasRoomFor(1, CALL_BYTES)) batch.run();
    asked.set(address, askForPage(batch, address));
  }
  batch.run();
  return new Map(
    [...asked].flatMap(([address, read]) => {
      const bytes = read();
      return bytes === undefined ? [] : [[address, bytes] as const];
    }),
  );
}

function askForPage(batch: CallBatch, address: RemoteAddress): () => Buffer | undefined {
  const copy = batch.data(PAGE);
  const from = batch.data(IOVEC);
  const to = batch.data(IOVEC);
  for (const [iovec, base] of [
    [from, address],
    [to, copy.address],
  ] as const) {
    iovec.bytes.writeBigUInt64LE(BigInt(base), 0);
    iovec.bytes.writeBigUInt64LE(BigInt(PAGE), 8);
  }
  const written = batch.tryCall(
    'read data of the vDSO',
    SYS.process_vm_writev,
    batch.pid,
    from.address,
    1,
    to.address,
    1,
    0,
  );
  return () => {
    if (written.result === -ERRNO.EFAULT) return undefined;
    check('process_vm_writev', written.result, { doing: 'read data of the vDSO', pid: batch.pid });
    return copy.bytes;
  };
}

function withoutTrailingZeros(bytes: Buffer): Buffer {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  return Buffer.from(bytes.subarray(0, length));
}
