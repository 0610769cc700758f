/** How both summaries call a tree. */

/** `process 7: 3 threads`, `process 7 and 2 descendants: 3 threads`. */
export function treeText({ pid, processes, threads }: { pid: number; processes: number; threads: number }): string {
  const others = processes - 1;
  const descendants = others === 0 ? '' : ` and ${others} ${others === 1 ? 'descendant' : 'descendants'}`;
  return `process ${pid}${descendants}: ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
}
