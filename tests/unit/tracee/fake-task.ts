/** A task that is none: it notes the calls that a batch brings, and answers as the test says. */
import { I386_CALL, remoteCallSize } from '../../../src/arch/x86/machine-code.ts';
import { SYS } from '../../../src/kernel/abi/syscall.ts';
import { syscallNameI386 } from '../../../src/kernel/abi/syscall-i386.ts';
import { type RemoteAddress, remoteAddress } from '../../../src/support/brand.ts';
import type { BatchRunner } from '../../../src/tracee/call-batch.ts';

export interface MadeCall {
  readonly name: string;
  /** Six, as signed numbers. */
  readonly args: readonly number[];
}

/** The kernel's side of one call: its result. `memory` is what of the task's data begins at an address. */
export type FakeKernel = (call: MadeCall, memory: (address: number) => Buffer) => number;

const namesByNumber = new Map<number, string>(Object.entries(SYS).map(([name, number]) => [number, name]));

const nameOf = (number: number): string =>
  number >= I386_CALL ? `i386 ${syscallNameI386(number - I386_CALL)}` : (namesByNumber.get(number) ?? `call ${number}`);

export class FakeTask implements BatchRunner {
  readonly pid = 4242;
  readonly callsAddress = remoteAddress(0x10_0000);
  readonly dataAddress: RemoteAddress = remoteAddress(0x20_0000);
  readonly maxCalls: number;
  readonly maxDataBytes: number;
  readonly calls: Buffer;
  readonly data: Buffer;
  /** How large each batch was. */
  readonly batches: { readonly callCount: number; readonly dataBytes: number }[] = [];
  readonly made: MadeCall[] = [];
  readonly #kernel: FakeKernel;

  constructor(kernel: FakeKernel = () => 0, maxCalls = 256, maxDataBytes = 65_536) {
    this.#kernel = kernel;
    this.maxCalls = maxCalls;
    this.maxDataBytes = maxDataBytes;
    this.calls = Buffer.alloc(maxCalls * remoteCallSize);
    this.data = Buffer.alloc(maxDataBytes);
  }

  runBatch(callCount: number, dataBytes: number): void {
    this.batches.push({ callCount, dataBytes });
    const memory = (address: number): Buffer => this.data.subarray(address - this.dataAddress, dataBytes);
    for (let index = 0; index < callCount; index++) {
      const slot = this.calls.subarray(index * remoteCallSize, (index + 1) * remoteCallSize);
      const number = Number(slot.readBigUInt64LE(0));
      const args = [1, 2, 3, 4, 5, 6].map((place) => Number(slot.readBigInt64LE(place * 8)));
      const call = { name: nameOf(number), args };
      this.made.push(call);
      slot.writeBigInt64LE(BigInt(this.#kernel(call, memory)), 56);
    }
  }
}
