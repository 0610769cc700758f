/** The processes of an image as `ps --forest` shows those of a system. */
import type { ProcessInspection } from './inspect.ts';
import { columns, counted, sizeText } from './table.ts';

const PAGE = 4096;

export function treeLines(processes: readonly ProcessInspection[]): string[] {
  const pids = new Set(processes.map(({ pid }) => pid));
  const childrenOf = (parent: number): ProcessInspection[] => processes.filter((one) => one.parent === parent);
  const rows: string[][] = [];
  const seen = new Set<number>();
  const add = (process: ProcessInspection, branch: string, below: string): void => {
    // An image that is not trusted may say that two are each other's parents.
    if (seen.has(process.pid)) return;
    seen.add(process.pid);
    rows.push(rowOf(process, branch));
    const children = childrenOf(process.pid);
    children.forEach((child, index) => {
      const isLast = index === children.length - 1;
      add(child, `${below} \\_ `, `${below}${isLast ? '    ' : ' |  '}`);
    });
  };
  for (const process of processes) {
    if (process.parent === undefined || !pids.has(process.parent)) add(process, '', '');
  }
  for (const process of processes) add(process, '', '');
  const title = ['PID', 'THREADS', 'MEMORY', 'FDS', 'IN', 'COMMAND'];
  return [
    counted(processes.length, 'process', 'processes'),
    ...columns([title, ...rows], { indent: '  ', right: [0, 1, 2, 3] }),
  ];
}

function rowOf(process: ProcessInspection, branch: string): string[] {
  const { pid, threads, mappings, descriptors, comm, command } = process;
  // Wherever their bytes are: in this image once for several processes, or in its parent.
  const pages = mappings.reduce(
    (sum, { pages: { dataPages, relativePages = 0, parentPages = 0 } }) =>
      sum + dataPages + relativePages + parentPages,
    0,
  );
  const call = threads[0]?.systemCall?.name ?? 'its own code';
  const shown = command === undefined || command.length === 0 ? `[${comm}]` : command.join(' ');
  return [
    String(pid),
    String(threads.length),
    sizeText(pages * PAGE),
    String(descriptors.length),
    call,
    branch + shown,
  ];
}
