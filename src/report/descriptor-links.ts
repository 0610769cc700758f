/** Who is connected to whom: open file descriptions of an image, each once, which of them are ends of one thing, and what leads out of the tree. */
import type { ProcessInspection } from './inspect.ts';
import type { DescriptorInspection } from './inspect-descriptor.ts';
import { at, isList, type Json, numberAt, textAt, wholeAt } from './json.ts';
import type { PageObject } from './page-data.ts';
import { socketEnds, socketWords } from './socket-text.ts';

export function objectsOf(processes: readonly ProcessInspection[]): PageObject[] {
  const found = new Map<number, DescriptorInspection>();
  for (const one of processes.flatMap(({ descriptors }) => descriptors)) found.set(one.object, one);
  const ends = new Map<string, number[]>();
  for (const one of found.values()) {
    const { is } = endOf(one) ?? {};
    if (is !== undefined) ends.set(is, [...(ends.get(is) ?? []), one.object]);
  }
  const watched = watchedBy(processes);
  return [...found.values()].map((one) => {
    const { object, kind, path, state } = one;
    const others = (ends.get(endOf(one)?.of ?? '') ?? []).filter((end) => end !== object);
    const all = new Set([...others, ...(watched.get(object) ?? [])]);
    all.delete(object);
    const outside = others.length > 0 ? undefined : outsideOf(one);
    const label = path ?? socketWords(kind, state) ?? kind;
    return { object, kind, label, ...(outside === undefined ? {} : { outside }), ends: [...all] };
  });
}

/** What a description is called as an end of something, and what its other ends are called. */
interface End {
  readonly is: string;
  readonly of?: string;
}

/** Undefined for what has no other end. */
function endOf({ kind, state }: DescriptorInspection): End | undefined {
  if (kind === 'pipe') return oneOf(`pipe ${wholeAt(state, 'pipe')}`);
  if (kind === 'fifo') return oneOf(`fifo ${wholeAt(state, 'device')} ${wholeAt(state, 'inode')}`);
  const index = numberAt(state, 'index');
  if (kind === 'pty-master') return { is: `pty-master ${index}`, of: `pty-slave ${index}` };
  if (kind === 'pty-slave') return { is: `pty-slave ${index}`, of: `pty-master ${index}` };
  if (kind === 'unix-socket') {
    // Inodes of the two ends; 0 for none.
    const peer = numberAt(state, 'peer') ?? 0;
    return { is: `unix ${numberAt(state, 'socket')}`, ...(peer === 0 ? {} : { of: `unix ${peer}` }) };
  }
  const { own, other } = socketEnds(kind, state) ?? {};
  return other === undefined ? undefined : { is: `${kind} ${own} ${other}`, of: `${kind} ${other} ${own}` };
}

const oneOf = (thing: string): End => ({ is: thing, of: thing });

/** What is out there, if none of the tree is the other end. */
function outsideOf({ kind, path, state }: DescriptorInspection): string | undefined {
  if (kind === 'external-stream') return path ?? 'a stream';
  if (kind === 'pipe') return at(state, 'cutOff') === true ? 'a process outside' : undefined;
  const { other } = socketEnds(kind, state) ?? {};
  const role = textAt(state, 'role');
  if (kind === 'unix-socket') {
    const isOutside = role === 'outside' || at(state, 'outside') !== undefined;
    return isOutside ? (other ?? 'a process outside') : undefined;
  }
  return kind === 'tcp-socket' && role !== 'connected' && role !== 'connecting' ? undefined : other;
}

/** What epolls wait for, by the object of the epoll. They name descriptors of the process that has them. */
function watchedBy(processes: readonly ProcessInspection[]): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (const { descriptors } of processes) {
    const byNumber = new Map(descriptors.map(({ fd, object }) => [fd, object]));
    for (const { kind, object, state } of descriptors) {
      if (kind !== 'epoll') continue;
      const watched = watchedNumbers(state).flatMap((fd) => byNumber.get(fd) ?? []);
      found.set(object, [...(found.get(object) ?? []), ...watched]);
    }
  }
  return found;
}

function watchedNumbers(state: Json): number[] {
  const entries = at(state, 'entries');
  return isList(entries) ? entries.flatMap((entry) => numberAt(entry, 'watches') ?? []) : [];
}
