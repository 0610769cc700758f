/** /proc/PID/mountinfo: proc_pid_mountinfo(5). */
import type { Pid } from '../support/brand.ts';
import { readProcText, unlessMissing } from './proc-file.ts';
import { type Device, lines, malformed, parseDecimal, unescapeOctal } from './proc-text.ts';

export interface Mount {
  readonly mountId: number;
  readonly parentId: number;
  /** What stat(2) gives for its files, except where a file system has devices of its own for subvolumes (btrfs). */
  readonly device: Device;
  /** The directory of the file system that is the root of this mount. */
  readonly root: string;
  /** Relative to the process's root. */
  readonly mountPoint: string;
  readonly options: readonly string[];
  /** "shared:N", "master:N", "propagate_from:N", "unbindable". */
  readonly propagation: readonly string[];
  readonly fileSystemType: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

const FILE = 'mountinfo';

/** A zombie has no mounts. */
export const readMountinfo = (pid: Pid): Mount[] =>
  parseMountinfo(unlessMissing(() => readProcText(pid, 'mountinfo'), ['no-proc-file']) ?? '');

export const parseMountinfo = (text: string): Mount[] => lines(text).map(parseMount);

/** Undefined for mounts inside the kernel, of other namespaces, and outside the process's root. */
export const findMount = (mounts: readonly Mount[], mountId: number): Mount | undefined =>
  mounts.find((mount) => mount.mountId === mountId);

function parseMount(line: string): Mount {
  // Blanks within a field are escaped, so that " - " is the separator wherever it comes first.
  const separator = line.indexOf(' - ');
  if (separator < 0) throw malformed(FILE, 'a separator', line);
  const [mountId, parentId, device, root, mountPoint, options, ...propagation] = line.slice(0, separator).split(' ');
  const [fileSystemType, source, superOptions, ...rest] = line.slice(separator + 3).split(' ');
  if (root === undefined || mountPoint === undefined || options === undefined) throw malformed(FILE, 'a mount', line);
  if (!fileSystemType || source === undefined || superOptions === undefined || rest.length > 0) {
    throw malformed(FILE, 'a mount', line);
  }
  return {
    mountId: parseDecimal(FILE, 'a mount id', mountId),
    parentId: parseDecimal(FILE, 'a parent id', parentId),
    device: parseDevice(device),
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(','),
    propagation,
    fileSystemType: unescapeOctal(fileSystemType),
    source: unescapeOctal(source),
    superOptions: superOptions.split(',').map(unescapeOctal),
  };
}

/** Decimal here, unlike in maps. */
function parseDevice(text: string | undefined): Device {
  const [major, minor] = text?.split(':') ?? [];
  return { major: parseDecimal(FILE, 'a device', major), minor: parseDecimal(FILE, 'a device', minor) };
}
