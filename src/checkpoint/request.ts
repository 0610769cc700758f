/** What a save is asked for, and what it tells. */
import type { Pid } from '../support/brand.ts';
import type { Output } from './output.ts';

export interface CheckpointRequest {
  readonly pid: Pid;
  /** The process is our parent, which runs us to be saved: we are no part of the image. */
  readonly savesItself: boolean;
  readonly output: Output;
  /** End the target once the image is safe. */
  readonly kill: boolean;
  /** zstd level; undefined: pages as they are. */
  readonly level: number | undefined;
  /** Called between chunks; may throw to give up. */
  readonly onPages: (doneBytes: number, totalBytes: number) => void;
}

export interface CheckpointSummary {
  /** Of the root. */
  readonly pid: number;
  readonly processes: number;
  /** Of all processes. */
  readonly threads: number;
  /** Pages that the image carries. */
  readonly pages: number;
  readonly imageBytes: number;
  /** How long the target stood still. */
  readonly pauseMs: number;
  readonly totalMs: number;
  readonly killed: boolean;
  readonly remarks: readonly string[];
}
