/** A stream of 2008 as data: its records in their order, checked against each other. Pages stay where they are in the stream. */
import type { CrFdData, CrFdEntry, CrHead, CrMmFields, CrVma } from './layout.ts';

/** Pages that follow each other in memory and in the stream. */
export interface PageSpan {
  readonly address: number;
  readonly pages: number;
  /** Where their bytes begin in the stream. */
  readonly position: number;
}

/** Where a record begins in the stream: for errors. */
interface Placed {
  readonly offset: number;
}

export interface StreamVma extends CrVma, Placed {
  /** Of a mapping of a file. */
  readonly name: string | undefined;
  readonly spans: readonly PageSpan[];
}

export interface StreamDescription extends CrFdData, Placed {
  readonly objref: number;
  readonly name: string;
}

export interface LinuxCrStream {
  readonly head: CrHead;
  readonly pid: number;
  /** Each character is a byte of it. */
  readonly comm: string;
  readonly mm: Placed & { readonly fields: CrMmFields };
  readonly vmas: readonly StreamVma[];
  /** MM_CONTEXT with the LDT behind it: the payload that our images have too. */
  readonly memoryContext: Placed & { readonly payload: Buffer };
  readonly files: Placed & { readonly entries: readonly CrFdEntry[] };
  readonly descriptions: readonly StreamDescription[];
  /** THREAD with the thread areas behind it, as our images have it. */
  readonly thread: Placed & { readonly payload: Buffer };
  readonly cpu: Placed & { readonly payload: Buffer };
  readonly records: number;
  readonly sizeBytes: number;
}
