/** `quicksave status DIR [--json]` and `quicksave history DIR [--json]` */
import type { HistoryRecord, JobEnd } from '../jobs/job-records.ts';
import { historyOfJob, type JobPhase, type JobStatus, lookAtJob } from '../jobs/job-status.ts';
import { columns, sizeText } from '../report/table.ts';
import { durationText, elapsedText } from '../support/duration.ts';
import { coloured } from './colour.ts';
import { printResult } from './print-result.ts';

const STANDARD_OUTPUT = 1;

interface Options {
  readonly json?: boolean;
}

export function runStatus(folder: string, options: Options): void {
  const status = lookAtJob(folder);
  printResult(options.json ? `${JSON.stringify(status, undefined, 2)}\n` : renderStatus(status, Date.now()));
}

export function runHistory(folder: string, options: Options): void {
  const history = historyOfJob(folder);
  const lines = options.json
    ? history.map((one) => JSON.stringify(one))
    : columns(history.map((one) => [timeText(one.at), `start ${one.run}`, one.event, describeEvent(one)])).map(
        (line, index) => paintedEvent(line, history[index]),
      );
  printResult(lines.map((line) => `${line}\n`).join(''));
}

/** What somebody ought to look at. */
function paintedEvent(line: string, one: HistoryRecord | undefined): string {
  const isBad =
    one?.event === 'not saved' || one?.event === 'damaged' || (one?.event === 'preempted' && one.saved === false);
  return isBad ? coloured(STANDARD_OUTPUT, 'red', line) : line;
}

const timeText = (ms: number): string =>
  new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');

const phases: Readonly<Record<JobPhase, string>> = {
  new: 'not started yet',
  starting: 'starting',
  running: 'running',
  leaving: 'being saved before its end',
  preempted: 'ended before it was done; the next start goes on',
  ended: 'ended',
  interrupted: 'interrupted; the next start goes on from the newest save',
};

function renderStatus(status: JobStatus, now: number): string {
  const newest = status.saves.at(-1);
  const bytes = status.saves.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const rows = [
    ['job', status.command.join(' ')],
    ['is', `${phases[status.phase]}${endText(status.end)}, since ${timeText(status.since)}`],
    ['start', String(status.run)],
    ...(status.program === undefined ? [] : [['process', `${status.program}, under the care of ${status.supervisor}`]]),
    ['saves', newest === undefined ? 'none' : `${status.saves.length}, ${sizeText(bytes)}`],
    ...(newest === undefined
      ? []
      : [['newest', `${durationText(now - newest.savedAt)} old, ${sizeText(newest.sizeBytes)}, ${newest.name}`]]),
    ...(status.everyMs === undefined ? [] : [['every', `${durationText(status.everyMs)}, ${status.keep} kept`]]),
    ...(status.lastFailure === undefined ? [] : [['last save', `failed: ${status.lastFailure}`]]),
  ];
  const lines = columns(rows);
  const last = status.lastFailure === undefined ? [] : [coloured(STANDARD_OUTPUT, 'red', lines.pop() ?? '')];
  return `${[...lines, ...last].join('\n')}\n`;
}

function endText(end: JobEnd | undefined): string {
  if (end === undefined) return '';
  return 'status' in end ? ` with status ${end.status}` : ` by signal ${end.signal}`;
}

function describeEvent(one: HistoryRecord): string {
  switch (one.event) {
    case 'started':
    case 'found running':
      return `process ${one.pid}`;
    case 'resumed':
      return `process ${one.pid} from ${one.save}`;
    case 'saved':
      return savedText(one);
    case 'not saved':
      return one.message;
    case 'damaged':
      return `${one.save}: ${one.message}`;
    case 'preempted':
      return one.saved ? 'with a save' : 'without a save';
    case 'ended':
      return endText(one.end).trim();
  }
}

function savedText({ save, sizeBytes, pauseMs, totalMs }: Extract<HistoryRecord, { event: 'saved' }>): string {
  const pause = pauseMs === undefined ? 'ended' : `pause ${elapsedText(pauseMs)}`;
  return `${save}, ${sizeText(sizeBytes)}, ${pause}, ${elapsedText(totalMs)} in all`;
}
