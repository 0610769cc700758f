/**
 * System calls in a thread that is not the agent's own, one by one, while its process may outlive us. They are made at a
 * site outside of the agent's pages, which the agent unmaps when we die: only their data is there.
 */
import { I386_CALL, remoteCallSize } from '../arch/x86/machine-code.ts';
import type { RemoteAddress } from '../support/brand.ts';
import type { Agent } from './agent.ts';
import type { BatchRunner } from './call-batch.ts';
import type { CallSite, StoppedTask } from './stopped-task.ts';

export class SingleCalls implements BatchRunner {
  readonly pid: number;
  readonly callsAddress: RemoteAddress;
  readonly dataAddress: RemoteAddress;
  readonly maxCalls: number;
  readonly maxDataBytes: number;
  readonly calls: Buffer;
  readonly data: Buffer;
  readonly #agent: Agent;
  readonly #task: StoppedTask;
  readonly #site: CallSite;

  /** For a thread that has left home through `site`. */
  constructor(agent: Agent, task: StoppedTask, site: CallSite) {
    this.pid = task.tid;
    this.callsAddress = agent.callsAddress;
    this.dataAddress = agent.dataAddress;
    this.maxCalls = agent.maxCalls;
    this.maxDataBytes = agent.maxDataBytes;
    this.calls = agent.calls;
    this.data = agent.data;
    this.#agent = agent;
    this.#task = task;
    this.#site = site;
  }

  runBatch(callCount: number, dataBytes: number): void {
    this.#agent.moveData('write', dataBytes);
    for (let index = 0; index < callCount; index++) {
      const slot = this.calls.subarray(index * remoteCallSize, (index + 1) * remoteCallSize);
      const args = [0, 1, 2, 3, 4, 5].map((arg) => slot.readBigUInt64LE(8 + arg * 8));
      const number = Number(slot.readBigUInt64LE(0));
      const result =
        number < I386_CALL
          ? this.#task.tryCall(this.#site, number, ...args)
          : this.#task.tryI386Call(this.#site, number - I386_CALL, ...args);
      slot.writeBigInt64LE(BigInt(result), 56);
    }
    this.#agent.moveData('read', dataBytes);
    this.#task.standStill(false);
  }
}
