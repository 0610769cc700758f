/**
 * Batches in a thread that is not the agent's own, of a process that dies with us. The doorbell serves one thread at a
 * time: the agent is paused while others use it, one after the other.
 */
import type { LocalFd, RemoteAddress } from '../support/brand.ts';
import { type Agent, asRunner, type DescriptorReceiver } from './agent.ts';
import type { BatchRunner } from './call-batch.ts';
import type { StoppedTask } from './stopped-task.ts';

export class ThreadCalls implements DescriptorReceiver {
  readonly pid: number;
  readonly callsAddress: RemoteAddress;
  readonly dataAddress: RemoteAddress;
  readonly maxCalls: number;
  readonly maxDataBytes: number;
  readonly calls: Buffer;
  readonly data: Buffer;
  readonly #agent: Agent;
  readonly #task: StoppedTask;
  readonly #blockIndex: number;

  /** `blockIndex`: a state block of the agent's, filled for this thread. */
  constructor(agent: Agent, task: StoppedTask, blockIndex: number) {
    this.pid = task.tid;
    this.callsAddress = agent.callsAddress;
    this.dataAddress = agent.dataAddress;
    this.maxCalls = agent.maxCalls;
    this.maxDataBytes = agent.maxDataBytes;
    this.calls = agent.calls;
    this.data = agent.data;
    this.#agent = agent;
    this.#task = task;
    this.#blockIndex = blockIndex;
  }

  /** The same number in every table of the process. */
  get doorbellNumber(): number {
    return this.#agent.doorbellNumber;
  }

  receiving(messages: readonly (readonly LocalFd[])[]): BatchRunner {
    return asRunner(this, (callCount, dataBytes) => {
      this.#agent.runBatchIn(this.#task, this.#blockIndex, callCount, dataBytes, messages);
    });
  }

  runBatch(callCount: number, dataBytes: number): void {
    this.#agent.runBatchIn(this.#task, this.#blockIndex, callCount, dataBytes);
  }
}
