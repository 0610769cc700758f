/**
 * Aspects of a process or thread in words. An aspect without a text of its own, or of a form that is not known here, is shown
 * as the data that it is, so that a new kind needs nothing here.
 */
import { signalName } from '../kernel/abi/signal.ts';
import { at, isList, isObject, type Json, numberAt, textAt, wholeAt } from './json.ts';
import { actionFlagNames, capabilityText, hex, schedulingPolicyName, signalsIn } from './names.ts';

/** Lines, none for what is as it is by default; undefined if the state is not of the form that is known here. */
type Describe = (state: Json) => string[] | undefined;

const describers: Readonly<Record<string, Describe>> = {
  credentials,
  fileSystemContext,
  limits,
  memoryMapFields,
  signalActions,
  intervalTimers,
  sharedPendingSignals: pendingSignals,
  ownPendingSignals: pendingSignals,
  scheduling,
  signalStack,
  threadPointers,
};

export function aspectLines(name: string, state: Json): string[] {
  const describe = Object.hasOwn(describers, name) ? describers[name] : undefined;
  return describe?.(state) ?? plain(state);
}

/** Any state: `key value, key value`; nothing for an empty one. */
export function plain(state: Json): string[] {
  const text = plainText(state);
  return text === '' ? [] : [text];
}

function plainText(state: Json): string {
  if (isList(state)) return state.map((item) => (isObject(item) ? `{${plainText(item)}}` : plainText(item))).join(' ');
  if (!isObject(state)) return String(state);
  const bytes = bytesText(state);
  if (bytes !== undefined) return bytes;
  return Object.entries(state)
    .filter(([, value]) => !isEmpty(value))
    .map(([key, value]) =>
      isObject(value) || isList(value) ? `${wordsOf(key)} {${plainText(value)}}` : `${wordsOf(key)} ${value}`,
    )
    .join(', ');
}

const SHOWN_DIGITS = 32;

/** A byte string, which `toJson` has made an object of. */
function bytesText(state: Json): string | undefined {
  const count = numberAt(state, 'bytes');
  const digits = textAt(state, 'hex');
  if (count === undefined || digits === undefined) return undefined;
  return count === 0
    ? 'no bytes'
    : `${count} bytes ${digits.slice(0, SHOWN_DIGITS)}${count * 2 > SHOWN_DIGITS ? '…' : ''}`;
}

const isEmpty = (value: Json): boolean =>
  isList(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;

/** `signalActions` as `signal actions`. */
export const wordsOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function credentials(state: Json): string[] | undefined {
  const uid = idText(at(state, 'uid'));
  const gid = idText(at(state, 'gid'));
  const effective = wholeAt(state, 'capEffective');
  const groups = at(state, 'groups');
  if (uid === undefined || gid === undefined || effective === undefined || !isList(groups)) return undefined;
  const securebits = numberAt(state, 'securebits') ?? 0;
  return [
    `uid ${uid}, gid ${gid}${groups.length === 0 ? '' : `, groups ${groups.join(' ')}`}`,
    `capabilities ${capabilityText(effective)}${securebits === 0 ? '' : `, securebits ${hex(securebits)}`}`,
  ];
}

/** `1000`, or all four where they differ. */
function idText(ids: Json | undefined): string | undefined {
  const names = ['real', 'effective', 'saved', 'filesystem'];
  const values = names.map((name) => numberAt(ids, name));
  if (values.includes(undefined)) return undefined;
  if (values.every((value) => value === values[0])) return String(values[0]);
  return names.map((name, index) => `${name} ${values[index]}`).join(' ');
}

function fileSystemContext(state: Json): string[] | undefined {
  const directory = textAt(state, 'workingDirectory');
  const umask = numberAt(state, 'umask');
  if (directory === undefined || umask === undefined) return undefined;
  return [`working directory ${directory}, umask ${umask.toString(8).padStart(3, '0')}`];
}

const UNLIMITED = 2n ** 64n - 1n;

/** Limits that limit something. */
function limits(state: Json): string[] | undefined {
  if (!isObject(state)) return undefined;
  const lines: string[] = [];
  for (const name of Object.keys(state)) {
    const soft = wholeAt(state, name, 'soft');
    const hard = wholeAt(state, name, 'hard');
    if (soft === undefined || hard === undefined) return undefined;
    if (soft === UNLIMITED && hard === UNLIMITED) continue;
    lines.push(soft === hard ? `${name} ${limitText(soft)}` : `${name} ${limitText(soft)}, at most ${limitText(hard)}`);
  }
  return lines;
}

const limitText = (value: bigint): string => (value === UNLIMITED ? 'unlimited' : String(value));

const ranges: readonly (readonly [name: string, start: string, end: string])[] = [
  ['code', 'startCode', 'endCode'],
  ['data', 'startData', 'endData'],
  ['heap', 'startBrk', 'brk'],
  ['arguments', 'argStart', 'argEnd'],
  ['environment', 'envStart', 'envEnd'],
];

function memoryMapFields(state: Json): string[] | undefined {
  const lines: string[] = [];
  for (const [name, first, last] of ranges) {
    const start = numberAt(state, first);
    const end = numberAt(state, last);
    if (start === undefined || end === undefined) return undefined;
    lines.push(`${name} ${hex(start)}-${hex(end)}`);
  }
  const stack = numberAt(state, 'startStack');
  return stack === undefined
    ? undefined
    : [lines.slice(0, 3).join(', '), [...lines.slice(3), `stack ${hex(stack)}`].join(', ')];
}

const IGNORED = 1n;

function signalActions(state: Json): string[] | undefined {
  if (!isList(state)) return undefined;
  const lines = state.map(actionLine);
  return lines.includes(undefined) ? undefined : lines.filter((line) => line !== undefined);
}

function actionLine(action: Json): string | undefined {
  const signal = numberAt(action, 'signal');
  const handler = wholeAt(action, 'handler');
  const flags = wholeAt(action, 'flags');
  const mask = wholeAt(action, 'mask');
  if (signal === undefined || handler === undefined || flags === undefined || mask === undefined) return undefined;
  const does = handler === 0n ? 'default' : handler === IGNORED ? 'ignored' : `handler ${hex(handler)}`;
  const words = actionFlagNames(Number(flags));
  const blocked = mask === 0n ? [] : [`blocks ${signalsIn(mask).join(' ')}`];
  return [`${signalName(signal)} ${does}`, ...words, ...blocked].join(', ');
}

function intervalTimers(state: Json): string[] | undefined {
  if (!isObject(state)) return undefined;
  const lines: string[] = [];
  for (const [name, timer] of Object.entries(state)) {
    const left = secondsAt(timer, 'leftSec', 'leftUsec');
    const interval = secondsAt(timer, 'intervalSec', 'intervalUsec');
    if (left === undefined || interval === undefined) return undefined;
    if (left !== '0') lines.push(`${name}: ${left} s left${interval === '0' ? '' : `, then every ${interval} s`}`);
  }
  return lines;
}

function secondsAt(timer: Json, seconds: string, microseconds: string): string | undefined {
  const whole = wholeAt(timer, seconds);
  const rest = wholeAt(timer, microseconds);
  if (whole === undefined || rest === undefined) return undefined;
  return rest === 0n ? String(whole) : `${whole}.${String(rest).padStart(6, '0')}`;
}

/** Raw siginfo_t each: si_signo is its first field. */
function pendingSignals(state: Json): string[] | undefined {
  if (!isList(state)) return undefined;
  const names = state.map((info) => {
    const bytes = textAt(info, 'hex');
    return bytes === undefined || bytes.length < 8 ? undefined : signalName(Buffer.from(bytes, 'hex').readInt32LE(0));
  });
  if (names.includes(undefined)) return undefined;
  return names.length === 0 ? [] : [`pending: ${names.join(' ')}`];
}

function scheduling(state: Json): string[] | undefined {
  const policy = numberAt(state, 'policy');
  const nice = numberAt(state, 'nice');
  const affinity = textAt(state, 'affinity', 'hex');
  if (policy === undefined || nice === undefined || affinity === undefined) return undefined;
  const priority = numberAt(state, 'priority') ?? 0;
  const words = [schedulingPolicyName(policy), `nice ${nice}`, `CPUs ${cpuText(affinity)}`];
  if (priority !== 0) words.splice(1, 0, `priority ${priority}`);
  return [words.join(', ')];
}

/** `0-3,8` from the mask's bytes, the lowest first. */
function cpuText(mask: string): string {
  const cpus = [...Buffer.from(mask, 'hex')].flatMap((byte, index) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit) & 1).map((bit) => index * 8 + bit),
  );
  const found: { first: number; last: number }[] = [];
  for (const cpu of cpus) {
    const run = found.at(-1);
    if (run?.last === cpu - 1) run.last = cpu;
    else found.push({ first: cpu, last: cpu });
  }
  return found.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',') || 'none';
}

const SS_DISABLE = 2;

function signalStack(state: Json): string[] | undefined {
  const address = wholeAt(state, 'address');
  const size = wholeAt(state, 'sizeBytes');
  const flags = numberAt(state, 'flags');
  if (address === undefined || size === undefined || flags === undefined) return undefined;
  return (flags & SS_DISABLE) !== 0 ? [] : [`at ${hex(address)}, ${size} bytes`];
}

function threadPointers(state: Json): string[] | undefined {
  const robust = wholeAt(state, 'robustList');
  const clearTid = wholeAt(state, 'clearTid');
  const rseq = wholeAt(state, 'rseq', 'address');
  if (robust === undefined || clearTid === undefined || rseq === undefined) return undefined;
  const compat = wholeAt(state, 'compatRobustList') ?? 0n;
  const lists = compat === 0n ? hex(robust) : `${hex(compat)} (32-bit)`;
  return [`robust list ${lists}, tid cleared at ${hex(clearTid)}, rseq ${rseq === 0n ? 'none' : hex(rseq)}`];
}
