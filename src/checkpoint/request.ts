/** What a save is asked for, and what it tells. */
import type { ImageAccess, Protection } from '../image/protection.ts';
import type { TcpPolicy } from '../resources/connection-keeper.ts';
import { type OutsidePolicy, refusesOutside } from '../resources/outside-policy.ts';
import type { Pid } from '../support/brand.ts';
import type { Compression } from './compression-choice.ts';
import type { Output } from './output.ts';

export interface CheckpointRequest {
  readonly pid: Pid;
  /** The process is our parent, which runs us to be saved: we are no part of the image. */
  readonly savesItself: boolean;
  readonly output: Output;
  /** End the target once the image is safe. */
  readonly kill: boolean;
  /** What becomes of TCP connections. */
  readonly tcp: TcpPolicy;
  /** Default: other ends outside are refused. */
  readonly outside?: OutsidePolicy | undefined;
  readonly compression: Compression;
  /** An earlier image of the tree, by its path: pages that are the same are not written again. */
  readonly parent?: string | undefined;
  /** For the parent, and those that it builds on. */
  readonly access: ImageAccess;
  readonly protection: Protection;
  /** Tracks from now on what the programs write, for a save with this image as its parent. */
  readonly track: boolean;
  /** Called between chunks; may throw to give up. */
  readonly onPages: (doneBytes: number, totalBytes: number) => void;
}

/** What stands in its way depends on it. */
export const policyOf = ({ outside = refusesOutside, tcp, kill }: CheckpointRequest): OutsidePolicy => ({
  ...outside,
  tcp,
  ends: kill,
});

export interface CheckpointSummary {
  /** Of the root. */
  readonly pid: number;
  readonly processes: number;
  /** Of all processes. */
  readonly threads: number;
  /** Pages that the image carries. */
  readonly pages: number;
  readonly imageBytes: number;
  /** Pages that are in the parent image, and not in this. */
  readonly parentPages: number;
  /** Pages of a process that another process of the tree has too: they are written once. */
  readonly relativePages: number;
  /** Pages without those that are zero, and what they take in the image. */
  readonly pageBytes: number;
  readonly storedBytes: number;
  /** How long the target stood still. */
  readonly pauseMs: number;
  readonly totalMs: number;
  readonly killed: boolean;
  readonly remarks: readonly string[];
}
