/** The result of `check` as text. */
import { type Problem, withRemedy } from '../support/errors.ts';
import { type Paint, plainly } from '../support/paint.ts';
import type { HostCheck } from './check-host.ts';
import type { HostFeature, Need } from './host-feature.ts';
import { columns, counted, printable, sizeText } from './table.ts';

const needs: Readonly<Record<Need, string>> = {
  both: 'needed',
  checkpoint: 'checkpoint',
  restart: 'restart',
  extra: '',
};

export function renderHostCheck(
  { kernel, features, canCheckpoint, canRestart, heldConnections }: HostCheck,
  paint: Paint = plainly,
): string {
  const rows = features.map(({ name, available, need, purpose }) => [
    available ? 'yes' : 'no',
    name,
    needs[need],
    purpose,
  ]);
  const missing = features.filter((feature) => !feature.available);
  return text([
    `Linux ${kernel}`,
    '',
    ...columns(rows).map((line, index) => paintedRow(line, features[index], paint)),
    ...(missing.length === 0 ? [] : ['', paint('bold', 'What is missing:'), ...missing.flatMap(missingLines)]),
    '',
    paint(
      canCheckpoint && canRestart ? 'green' : 'red',
      `Programs ${canCheckpoint ? 'can' : 'cannot'} be saved and ${canRestart ? 'can' : 'cannot'} be restarted here.`,
    ),
    ...heldConnections.map(
      (table) => `A save holds TCP connections silent for its restart (${table}); quicksave cleanup lets them go.`,
    ),
  ]);
}

/** Its first word says whether it is there. */
function paintedRow(line: string, feature: HostFeature | undefined, paint: Paint): string {
  const style = feature?.available === true ? 'green' : feature?.need === 'extra' ? 'yellow' : 'red';
  return line.replace(/^\S+/, (word) => paint(style, word));
}

function missingLines({ name, need, why, remedy }: HostFeature): string[] {
  const what = need === 'extra' ? 'not needed' : `needed for ${need === 'both' ? 'everything' : need}`;
  return [`  ${name} (${what}): ${why ?? ''}.`, `    ${remedy ?? ''}`].map(printable);
}

/** What a check of a process has found. */
export interface CheckedProcess {
  readonly pid: number;
  readonly comm: string;
  readonly threads: number;
  readonly residentBytes: number;
  readonly problems: readonly Problem[];
  readonly restartProblems: readonly Problem[];
  readonly remarks: readonly string[];
  readonly stopped: boolean;
}

export function renderProcessCheck(found: CheckedProcess, paint: Paint = plainly): string {
  const { problems, restartProblems, remarks } = found;
  const name = `Process ${found.pid} (${found.comm}, ${counted(found.threads, 'thread')}, ${sizeText(found.residentBytes)} in memory)`;
  return text([
    problems.length === 0
      ? paint('green', printable(`${name} can be saved.`))
      : paint('red', printable(`${name} cannot be saved:`)),
    ...problems.flatMap(problemLines),
    ...section(
      paint('yellow', 'A restart on this host, by this user, would be refused:'),
      restartProblems.flatMap(problemLines),
    ),
    ...section(
      'After a restart:',
      remarks.map((remark) => printable(`  ${remark}`)),
    ),
    ...(found.stopped
      ? []
      : [
          `What only itself can tell was not asked: quicksave check ${found.pid} --stop stops it for some milliseconds.`,
        ]),
  ]);
}

const section = (title: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : [title, ...lines]);

function problemLines(problem: Problem): string[] {
  const { path, message, code, remedy } = withRemedy(problem);
  return [`  ${path.join(' › ')}: ${message}`, `    ${remedy} [${code}]`].map(printable);
}

const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
