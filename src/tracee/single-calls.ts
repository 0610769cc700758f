/**
 * System calls in a thread that is not the agent's own, one by one, while its process may outlive us. They are made at a
 * site outside of the agent's pages, which the agent unmaps when we die: only their data is there.
 */
import { I386_CALL, remoteCallSize } from '../arch/x86/machine-code.ts';
import type { RemoteAddress } from '../support/brand.ts';
import type { Agent } from './agent.ts';
import type { BatchRunner } from './call-batch.ts';
import { callsIn } from './call-guard.ts';
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
    const calls = callsIn(this.calls, callCount);
    // All of them before the first is made: in between, the thread does not stand as it was stopped.
    this.#task.guard?.refuseHarmful(this.#task.tid, calls);
    this.#agent.moveData('write', dataBytes);
    for (const [index, { number, args }] of calls.entries()) {
      const result =
        number < I386_CALL
          ? this.#task.tryCall(this.#site, number, ...args)
          : this.#task.tryI386Call(this.#site, number - I386_CALL, ...args);
      this.calls.writeBigInt64LE(BigInt(result), index * remoteCallSize + 56);
    }
    this.#agent.moveData('read', dataBytes);
    this.#task.standStill(false);
  }
}
