/** /proc/PID/cgroup: cgroups(7). */

export interface CgroupMembership {
  /** Of version 1: `cpu,cpuacct`, `name=systemd`. '' for the hierarchy of version 2. */
  readonly controllers: string;
  /** From the root of the reader's cgroup namespace; one outside of it begins with `/..`. */
  readonly path: string;
}

/** The lines without the number of the hierarchy, which another boot gives otherwise. */
export const cgroupLines = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(line.indexOf(':') + 1));

/** Of such a line. */
export function parseCgroup(line: string): CgroupMembership {
  const colon = line.indexOf(':');
  return { controllers: line.slice(0, colon), path: line.slice(colon + 1) };
}
