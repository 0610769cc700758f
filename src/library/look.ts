/** Looking without touching: what is in an image, what a host can do, what stands in the way of saving a process. */

import { checkProcess, type ProcessCheck } from '../checkpoint/check.ts';
import { type OutsideChoice, outsidePolicyOf } from '../checkpoint/outside-choice.ts';
import { readAccess } from '../image/protection.ts';
import { openInput } from '../remote/open-input.ts';
import { checkHost, type HostCheck } from '../report/check-host.ts';
import { type Difference, diffImages } from '../report/diff.ts';
import { type Inspection, inspectInput } from '../report/inspect.ts';
import { type Verification, verifyImageAt } from '../report/verify.ts';
import { asPid } from '../support/brand.ts';

/** What is in an image, as data. Needs neither rights nor the files that the image refers to. */
export function inspect(path: string, { keys, showsCut }: InspectOptions = {}): Inspection {
  const input = openInput(path, { access: readAccess({ keys }) });
  try {
    return inspectInput(input, { showsCut });
  } finally {
    input.close();
  }
}

/** What changed between two images in files. */
export const diff = (a: string, b: string, { images, keys }: LookOptions = {}): Difference =>
  diffImages(a, b, { images, access: readAccess({ keys }) });

/** Reads and checks all of an image in a file. Throws ImageError for what is wrong first. */
export function verify(path: string, { images, keys, verifyKey }: VerifyOptions = {}): Intact {
  const access = readAccess({ keys, verifyKey });
  return intactOf(verifyImageAt(path, { images, access }));
}

/** What is told of an image that is whole, as data. */
export function intactOf({ model, signature: _signature, ...counts }: Verification): Intact {
  const { processes, root } = model;
  const threads = processes.reduce((sum, { task }) => sum + task.threads.length, 0);
  const { pid } = root.task;
  return { pid, processes: processes.length, threads, ...counts };
}

export interface LookOptions {
  /** The folder where the parents of an incremental image are; default: its own. */
  readonly images?: string;
  /** Key files that open encrypted images: secrets, private X25519 keys. */
  readonly keys?: readonly string[];
}

export interface InspectOptions extends Pick<LookOptions, 'keys'> {
  /** Of an image whose end is missing: show what there is, with `cut` in the result. Default: `cut-image` is thrown. */
  readonly showsCut?: boolean;
}

export interface VerifyOptions extends LookOptions {
  /** File of an Ed25519 public key: an image that is not signed by its owner is refused. */
  readonly verifyKey?: string;
}

export interface Intact {
  /** Of the root. */
  readonly pid: number;
  readonly processes: number;
  /** Of all processes. */
  readonly threads: number;
  readonly isEncrypted: boolean;
  readonly imageBytes: number;
  readonly records: number;
  /** Pages whose bytes are in the image, and those that it only says are zero. */
  readonly dataPages: number;
  readonly zeroPages: number;
  /** Pages that its parents have for it. */
  readonly parentPages: number;
  /** Pages of a process that another process of the image has too, and that are written there. */
  readonly relativePages: number;
}

/** Everything that stands in the way of saving this process, with these options of `checkpoint`; it is not stopped. */
export function check(pid: number, options?: OutsideChoice): ProcessCheck;
/** What this host can and cannot do. */
export function check(): HostCheck;
export function check(pid?: number, options: OutsideChoice = {}): HostCheck | ProcessCheck {
  return pid === undefined ? checkHost() : checkProcess(asPid(pid), outsidePolicyOf(options));
}
