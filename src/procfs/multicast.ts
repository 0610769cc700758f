/** The multicast groups of all interfaces of a process's network namespace: /proc/PID/net/igmp and igmp6 (proc_pid_net(5)). */
import { readFileSync } from 'node:fs';
import type { Pid } from '../support/brand.ts';
import { refuseLack } from '../support/lacking.ts';

export interface Group {
  readonly interfaceIndex: number;
  readonly interfaceName: string;
  /** 4 bytes, or 16. */
  readonly address: Buffer;
  readonly text: string;
}

export const readMulticastGroups = (pid: Pid): Group[] => [
  ...parseIgmp(read(pid, 'igmp')),
  ...parseIgmp6(read(pid, 'igmp6')),
];

/** A kernel without multicast, or without IPv6, does not have the file. */
function read(pid: Pid, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/net/${name}`, 'latin1');
  } catch (error) {
    refuseLack(error, `/proc/${pid}/net/${name}`);
    return '';
  }
}

/** Interfaces begin at the margin; their groups are indented, as the kernel prints a number of 32 bits of its memory. */
export function parseIgmp(text: string): Group[] {
  const found: Group[] = [];
  let interfaceIndex = 0;
  let interfaceName = '';
  for (const line of text.split('\n')) {
    const head = /^(\d+)\s+([^\s:]+)/.exec(line);
    if (head !== null) [interfaceIndex, interfaceName] = [Number(head[1]), head[2] ?? ''];
    const group = /^\s+([0-9A-F]{8})\s/.exec(line)?.[1];
    if (group === undefined) continue;
    const address = Buffer.from(group, 'hex').reverse();
    found.push({ interfaceIndex, interfaceName, address, text: address.join('.') });
  }
  return found;
}

export const parseIgmp6 = (text: string): Group[] =>
  text.split('\n').flatMap((line) => {
    const [, index, interfaceName, group] = /^(\d+)\s+(\S+)\s+([0-9a-f]{32})\s/.exec(line) ?? [];
    if (index === undefined || interfaceName === undefined || group === undefined) return [];
    const parts = group.match(/.{4}/g) ?? [];
    return [
      { interfaceIndex: Number(index), interfaceName, address: Buffer.from(group, 'hex'), text: parts.join(':') },
    ];
  });
