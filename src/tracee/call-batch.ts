/**
 * System calls to be made inside a task, collected first and run together: one round trip to the agent costs as much as
 * a hundred calls. Results are there after {@link CallBatch.run}.
 */
import { I386_CALL, remoteCallSize } from '../arch/x86/machine-code.ts';
import { NO_SUCH_CALL, syscallName } from '../kernel/abi/syscall.ts';
import { syscallNameI386 } from '../kernel/abi/syscall-i386.ts';
import { check, isFailure } from '../kernel/errors.ts';
import { callText } from '../kernel/traced-calls.ts';
import { type RemoteAddress, remoteAddress } from '../support/brand.ts';
import { isTrailKept, noteCall } from '../support/call-trail.ts';
import { areFaultPointsOn, passFaultPoint } from '../support/fault-point.ts';

/** Who carries a batch out: writes it to the task, has it run, reads it back. */
export interface BatchRunner {
  /** For messages. */
  readonly pid: number;
  /** Where the calls begin in the task. */
  readonly callsAddress: RemoteAddress;
  /** Where the data begins in the task. */
  readonly dataAddress: RemoteAddress;
  readonly maxCalls: number;
  readonly maxDataBytes: number;
  /** Our copies of both areas, as they are written to the task and read back. */
  readonly calls: Buffer;
  readonly data: Buffer;
  runBatch(callCount: number, dataBytes: number): void;
}

export class PendingCall {
  readonly doing: string;
  readonly number: number;
  readonly mayFail: boolean;
  #result: number | undefined;

  constructor(number: number, doing: string, mayFail: boolean) {
    this.number = number;
    this.doing = doing;
    this.mayFail = mayFail;
  }

  /** The kernel's answer: a negative errno if it failed, which only a call that may fail ever shows. */
  get result(): number {
    if (this.#result === undefined) throw new Error(`"${this.doing}" was asked for its result before the batch ran`);
    return this.#result;
  }

  get failed(): boolean {
    return isFailure(this.result);
  }

  settle(result: number): void {
    this.#result = result;
  }
}

/** Bytes in the task's memory: written before the batch runs, read after it. */
export class RemoteData {
  readonly address: RemoteAddress;
  bytes: Buffer;
  constructor(address: RemoteAddress, bytes: Buffer) {
    this.address = address;
    this.bytes = bytes;
  }
}

export class CallBatch {
  readonly #runner: BatchRunner;
  #calls: PendingCall[] = [];
  #data: RemoteData[] = [];
  #dataUsed = 0;

  constructor(runner: BatchRunner) {
    this.#runner = runner;
  }

  get pid(): number {
    return this.#runner.pid;
  }

  /** Adds a call that must succeed; `doing` is an infinitive for the error message. */
  call(doing: string, number: number, ...args: (number | bigint)[]): PendingCall {
    return this.#add(new PendingCall(number, doing, false), args);
  }

  /** Adds a call whose failure the caller looks at. */
  tryCall(doing: string, number: number, ...args: (number | bigint)[]): PendingCall {
    return this.#add(new PendingCall(number, doing, true), args);
  }

  /** Adds a call of i386 that must succeed, for what the kernel tells apart by the way that it is called. */
  callI386(doing: string, number: number, ...args: (number | bigint)[]): PendingCall {
    return this.#add(new PendingCall(I386_CALL + number, doing, false), args);
  }

  #add(call: PendingCall, args: readonly (number | bigint)[]): PendingCall {
    const slot = this.#runner.calls.subarray(this.#calls.length * remoteCallSize);
    if (this.#calls.length === this.#runner.maxCalls) throw new RangeError('too many calls in one batch');
    slot.writeBigUInt64LE(BigInt(call.number), 0);
    for (let index = 0; index < 6; index++) {
      slot.writeBigUInt64LE(BigInt.asUintN(64, BigInt(args[index] ?? 0)), 8 + index * 8);
    }
    this.#calls.push(call);
    return call;
  }

  /** Room for `sizeBytes` zeroed bytes, 16-aligned, in the task. */
  data(sizeBytes: number): RemoteData {
    const start = this.#dataUsed;
    if (start + sizeBytes > this.#runner.maxDataBytes) throw new RangeError('too much data in one batch');
    this.#dataUsed = (start + sizeBytes + 15) & ~15;
    const bytes = this.#runner.data.subarray(start, start + sizeBytes);
    bytes.fill(0);
    const data = new RemoteData(remoteAddress(this.#runner.dataAddress + start), bytes);
    this.#data.push(data);
    return data;
  }

  bytes(content: Uint8Array): RemoteData {
    const data = this.data(content.length);
    data.bytes.set(content);
    return data;
  }

  cString(text: string): RemoteData {
    return this.bytes(Buffer.from(`${text}\0`));
  }

  /** True when one more step of this size still fits; otherwise run first. */
  hasRoomFor(calls: number, dataBytes: number): boolean {
    return (
      this.#calls.length + calls <= this.#runner.maxCalls &&
      this.#dataUsed + dataBytes + 16 * calls <= this.#runner.maxDataBytes
    );
  }

  /** Runs what was collected and empties the batch. Throws for the first call that failed and must not. */
  run(): void {
    this.runBy((calls, dataBytes) => this.#runner.runBatch(calls, dataBytes));
  }

  /** The same, by something else of the runner than its `runBatch`. */
  runBy(runBatch: (callCount: number, dataBytes: number) => void): void {
    const calls = this.#calls;
    const data = this.#data;
    if (calls.length === 0) return;
    const dataBytes = this.#dataUsed;
    this.#calls = [];
    this.#data = [];
    this.#dataUsed = 0;
    const faults = areFaultPointsOn() ? this.#passFaultPoints(calls) : undefined;
    runBatch(calls.length, dataBytes);
    for (const piece of data) piece.bytes = Buffer.from(piece.bytes);
    calls.forEach((call, index) => {
      call.settle(faults?.get(call) ?? Number(this.#runner.calls.readBigInt64LE(index * remoteCallSize + 56)));
    });
    if (isTrailKept()) for (const [index, call] of calls.entries()) noteCall(this.#textOf(call, index));
    this.#refuseFailures(calls);
  }

  /** Those that are to fail are not made, but for one that does nothing; what they answer instead. */
  #passFaultPoints(calls: readonly PendingCall[]): Map<PendingCall, number> {
    const faults = new Map<PendingCall, number>();
    for (const [index, call] of calls.entries()) {
      const result = passFaultPoint(plainName(call.number));
      if (result === undefined) continue;
      this.#runner.calls.writeBigUInt64LE(BigInt(NO_SUCH_CALL), index * remoteCallSize);
      faults.set(call, result);
    }
    return faults;
  }

  #textOf({ number, doing, result }: PendingCall, index: number): string {
    const slot = this.#runner.calls.subarray(index * remoteCallSize);
    const args = Array.from({ length: 6 }, (_, at) => slot.readBigUInt64LE(8 + at * 8));
    return `in process ${this.pid}, to ${doing}: ${callText(callName(number), args, result)}`;
  }

  #refuseFailures(calls: readonly PendingCall[]): void {
    for (const call of calls) {
      if (!call.mayFail) check(callName(call.number), call.result, { doing: call.doing, pid: this.pid });
    }
  }
}

const callName = (number: number): string => (number < I386_CALL ? plainName(number) : `i386 ${plainName(number)}`);

const plainName = (number: number): string =>
  number < I386_CALL ? syscallName(number) : syscallNameI386(number - I386_CALL);
