/** Looking without touching: what is in an image, what a host can do, what stands in the way of saving a process. */
import { checkProcess, type ProcessCheck } from '../checkpoint/check.ts';
import { openInput, sourceOf } from '../image/image-source.ts';
import { checkHost, type HostCheck } from '../report/check-host.ts';
import { type Inspection, inspectImage } from '../report/inspect.ts';
import { asPid } from '../support/brand.ts';

/** What is in an image, as data. Needs neither rights nor the files that the image refers to. */
export function inspect(path: string): Inspection {
  const input = openInput(path);
  try {
    return inspectImage(sourceOf(input));
  } finally {
    input.close();
  }
}

/** Everything that stands in the way of saving this process; it is not stopped. */
export function check(pid: number): ProcessCheck;
/** What this host can and cannot do. */
export function check(): HostCheck;
export function check(pid?: number): HostCheck | ProcessCheck {
  return pid === undefined ? checkHost() : checkProcess(asPid(pid));
}
