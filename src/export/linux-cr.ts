/** Export as a stream of 2008 (linux-cr-v8). */

import { planExport, type StreamToWrite } from '../linux-cr/from-image.ts';
import { auxiliaryVector } from '../linux-cr/initial-stack.ts';
import { PAGE } from '../linux-cr/layout.ts';
import { type PageSource, writeLinuxCr } from '../linux-cr/write-stream.ts';
import type { AddressedImage } from '../pages/addressed-image.ts';
import type { PageStore } from '../pages/page-store.ts';
import { RefusedError } from '../support/errors.ts';
import type { ExportFormat } from './export.ts';

export const linuxCrV8: ExportFormat = {
  name: 'linux-cr-v8',
  takesProcess: false,
  write: ({ model, pages: pagesOfMemory }: AddressedImage, { write }) => {
    const pages = pagesOfMemory(model.root.task.memory);
    const { problems, losses, stream } = planExport(model);
    if (stream === undefined) {
      const reasons = problems.length === 1 ? 'one thing stands' : `${problems.length} things stand`;
      const { pid } = model.root.task;
      throw new RefusedError(
        `The image of process ${pid} cannot be exported as linux-cr-v8: ${reasons} in the way.`,
        problems,
      );
    }
    const written = writeLinuxCr(stream, pagesOf(stream, pages), write);
    return { ...written, losses: [...losses, ...vectorLoss(stream, pages)] };
  },
};

function pagesOf({ rseq }: StreamToWrite, store: PageStore): PageSource {
  const rseqPage = rseq === undefined ? undefined : rseq.address - (rseq.address % PAGE);
  return {
    addressesIn: ({ start, end, keepsZeroPages, name }) => {
      const found = store.addressesIn(start, end, { zeroPages: keepsZeroPages });
      const isHere = rseqPage !== undefined && start <= rseqPage && rseqPage < end;
      // Unregistered it is not all zero, whatever it was.
      if (isHere && name === undefined && !found.includes(rseqPage)) found.push(rseqPage);
      return Uint32Array.from(found).sort();
    },
    page: (address) => {
      const page = store.page(address);
      return rseq === undefined || address !== rseqPage ? page : unregistered(page, rseq);
    },
  };
}

/** Fields of struct rseq (linux/rseq.h): offsets, and their values when it is not registered (rseq_reset_rseq_cpu_node_id()). */
const rseqFields = [
  { offset: 0, name: 'cpu_id_start', value: 0 },
  { offset: 4, name: 'cpu_id', value: 0xffff_ffff },
  { offset: 20, name: 'node_id', value: 0 },
  { offset: 24, name: 'mm_cid', value: 0 },
] as const;

/** As rseq(2) with RSEQ_FLAG_UNREGISTER leaves it: the C library asks the kernel for the number of its CPU then. */
function unregistered(page: Uint8Array, { address, sizeBytes }: { address: number; sizeBytes: number }): Uint8Array {
  const copy = Buffer.from(page);
  for (const { offset, value } of rseqFields) {
    if (offset + 4 <= sizeBytes) copy.writeUInt32LE(value, (address % PAGE) + offset);
  }
  return copy;
}

/** A program may have written over the stack that execve(2) left. */
function vectorLoss({ fields, auxv }: StreamToWrite, store: PageStore): string[] {
  const onStack = auxiliaryVector(fields, (address, length) => store.bytes(address, length));
  const length = Math.max(onStack.length, auxv.length);
  const padded = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);
  return padded(onStack).equals(padded(auxv))
    ? []
    : ['its auxiliary vector (/proc/PID/auxv), which is not on its stack any more'];
}
