/**
 * The LDT of a process: modify_ldt(2), which only the process itself can call. The system call answers with an int, also
 * when it fails: the upper half of the result is zero (arch/x86/kernel/ldt.c).
 */
import { DESCRIPTOR_SIZE, MAX_LOCAL_DESCRIPTORS, trimmedTable, userDescriptors } from '../arch/x86/segments.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { check } from '../kernel/errors.ts';
import type { CallBatch, PendingCall } from './call-batch.ts';

const READ = 0;
/** As opposed to 1, which takes no `useable` bit. */
const WRITE = 0x11;

const asInt = (call: PendingCall): number => call.result | 0;

/** Adds a call for the first entry. The answer, once the batch has run, is whether there is a table at all. */
export function askForLocalDescriptors(batch: CallBatch): () => boolean {
  const first = batch.data(DESCRIPTOR_SIZE);
  const asked = batch.tryCall('look for an LDT', SYS.modify_ldt, READ, first.address, DESCRIPTOR_SIZE);
  return () => asInt(asked) > 0;
}

/** The table, without what is empty at its end. Runs the batch. */
export function readLocalDescriptors(batch: CallBatch): Buffer {
  const sizeBytes = MAX_LOCAL_DESCRIPTORS * DESCRIPTOR_SIZE;
  const table = batch.data(sizeBytes);
  const read = batch.tryCall('read the LDT', SYS.modify_ldt, READ, table.address, sizeBytes);
  batch.run();
  check('modify_ldt', asInt(read), { doing: 'read the LDT', pid: batch.pid });
  return trimmedTable(table.bytes.subarray(0, asInt(read)));
}

/** Runs the batch as often as it takes. */
export function writeLocalDescriptors(batch: CallBatch, table: Uint8Array): void {
  let written: PendingCall[] = [];
  const run = (): void => {
    batch.run();
    for (const call of written) check('modify_ldt', asInt(call), { doing: call.doing, pid: batch.pid });
    written = [];
  };
  for (const { entry, bytes } of userDescriptors(table)) {
    if (!batch.hasRoomFor(1, bytes.length)) run();
    const { address } = batch.bytes(bytes);
    written.push(batch.tryCall(`set LDT entry ${entry}`, SYS.modify_ldt, WRITE, address, bytes.length));
  }
  run();
}
