/** An inspection as text for a person. */
import { registerNames } from '../arch/x86/registers.ts';
import type { MissingPart } from '../image/process-model.ts';
import { preciseText } from '../support/duration.ts';
import { type Paint, plainly } from '../support/paint.ts';
import { aspectLines, plain, wordsOf } from './aspect-text.ts';
import type { CutInspection, HeaderInspection, Inspection, MappingInspection, ProcessInspection } from './inspect.ts';
import type { DescriptorInspection } from './inspect-descriptor.ts';
import type { ThreadInspection } from './inspect-thread.ts';
import { isObject, type Json } from './json.ts';
import { hex, signalsNotIn } from './names.ts';
import type { PageCounts } from './page-tally.ts';
import { treeLines } from './render-tree.ts';
import { pauseOf, saveSteps } from './save-steps.ts';
import { socketWords } from './socket-text.ts';
import { describeSystemCall } from './system-call.ts';
import { columns, counted, printable, sizeText } from './table.ts';

const INDENT = '  ';
const PAGE = 4096;

/** What a person wants to see of an image. Nothing chosen: header, tree and sizes. */
export interface View {
  readonly all: boolean;
  /** State and threads of the processes. */
  readonly details: boolean;
  readonly maps: boolean;
  readonly descriptors: boolean;
  /** Only those that are sockets. */
  readonly sockets: boolean;
}

const everything: View = { all: true, details: true, maps: true, descriptors: true, sockets: false };

export function renderInspection(inspection: Inspection, view: View = everything, paint: Paint = plainly): string {
  const { all, details, maps, descriptors, sockets } = view;
  const isOverview = all || !(details || maps || descriptors || sockets);
  const sections = [
    ...(isOverview ? [headerLines(inspection), treeLines(inspection.processes), ...saveLines(inspection)] : []),
    ...inspection.processes.flatMap((process) => [
      ...(details ? detailSections(process, inspection) : []),
      ...(maps ? [mappingLines(process, whose(process, view, inspection))] : []),
      ...(descriptors || sockets
        ? [descriptorLines(process, sockets && !descriptors, whose(process, view, inspection))]
        : []),
    ]),
    ...(isOverview ? [sizeLines(inspection)] : []),
  ];
  const header = isOverview ? 1 : 0;
  return `${sections.map((lines, index) => titled(lines, index >= header ? paint : plainly)).join('\n\n')}\n`;
}

/** Of which process a section is, where that is not said just above it and there are several. */
const whose = ({ pid, comm }: ProcessInspection, { details }: View, { processes }: Inspection): string =>
  details || processes.length === 1 ? '' : ` of process ${pid} (${comm})`;

/** A section begins with its title. */
const titled = ([title = '', ...lines]: readonly string[], paint: Paint): string =>
  [paint('bold', title), ...lines].join('\n');

function headerLines({ header, format, missesParent, cut }: Inspection): string[] {
  if (format !== undefined) return foreignHeaderLines(header, format);
  const { kernel, cpu } = header;
  const components = ['x87', 'SSE', ...cpu.xstateComponents.map(({ name }) => name)];
  return columns([
    ...(cut === undefined ? [] : [['cut', cutText(cut)]]),
    ['image', `${header.imageId}, format version ${header.formatVersion}`],
    ...(header.parentId === undefined
      ? []
      : [['builds on', `${header.parentId}${missesParent ? ', which is not here' : ''}`]]),
    ['made', `${header.createdAt} by ${header.tool}`],
    ['kernel', `${kernel.release} ${kernel.version} ${kernel.machine}`],
    ['processor', `${cpu.vendor}, ${cpu.features.length} features, xcr0 ${cpu.xcr0}`],
    ['xstate', `${cpu.xstateBytes} bytes: ${components.join(', ')}`],
  ]);
}

const cutText = ({ atByte }: CutInspection): string =>
  `${atByte === undefined ? 'its end is missing' : `it breaks off at byte ${atByte}`}; shown is what comes before`;

/** What another format says of its making. */
const foreignHeaderLines = ({ createdAt, kernel }: HeaderInspection, format: string): string[] =>
  columns([
    ['format', format],
    ['made', createdAt],
    ['kernel', `${kernel.release} ${kernel.version} ${kernel.machine}`],
  ]);

/** When the steps of its save began, and how long they took. */
function saveLines({ timeline }: Inspection): string[][] {
  if (timeline === undefined) return [];
  const { resumedUs } = timeline;
  const rows = saveSteps(timeline).map(({ name, startUs, endUs }) => [
    name,
    `at ${preciseText(startUs)}`,
    preciseText(endUs - startUs),
  ]);
  const pause = pauseOf(timeline);
  const resumed =
    resumedUs === undefined || pause === undefined
      ? ['resume', 'never', 'they were to end']
      : ['resume', `at ${preciseText(resumedUs)}`, `after a pause of ${preciseText(pause.endUs - pause.startUs)}`];
  return [['the save', ...columns([...rows, resumed], { indent: INDENT })]];
}

function detailSections(process: ProcessInspection, { files, missesParent }: Inspection): string[][] {
  const { pid, comm, threads, localDescriptors, command, missing } = process;
  const kind = process.addressBits === 32 ? '32-bit, ' : '';
  const executable = executableOf(process.aspects, files);
  return [
    [
      printable(`process ${pid} (${comm}), ${kind}${counted(threads.length, 'thread')}`),
      ...aspectTable([
        ...(command === undefined ? [] : [['command', command.join(' ')]]),
        ...(missing === undefined ? [] : [['cut off', missing.join(', ')]]),
        ...(missesParent ? [['not told', 'arguments and stacks: the image that this one builds on is not here']] : []),
        ...(executable === undefined ? [] : [['executable', executable]]),
        ...(process.leaderStatus === undefined
          ? []
          : [['first thread', `has ended with status ${process.leaderStatus}`]]),
        ...(process.saver === undefined ? [] : [['saved itself by', `its child ${process.saver.pid}`]]),
        ...sharingRow(process),
        ...(localDescriptors === undefined ? [] : [['LDT', counted(localDescriptors, 'entry', 'entries')]]),
        ...aspectRows(process.aspects),
      ]),
    ],
    ...threads.map(threadLines),
  ];
}

/** With a process before it. */
function sharingRow({ memoryOf, handlersOf, descriptorTableOf, fileSystemOf }: ProcessInspection): string[][] {
  const shared = [
    ...(memoryOf === undefined ? [] : [`memory of ${memoryOf}`]),
    ...(handlersOf === undefined ? [] : [`signal handlers of ${handlersOf}`]),
    ...(descriptorTableOf === undefined ? [] : [`descriptor table of ${descriptorTableOf}`]),
    ...(fileSystemOf === undefined ? [] : [`directory and umask of ${fileSystemOf}`]),
  ];
  return shared.length === 0 ? [] : [['shares', shared.join(', ')]];
}

/** Of an image that was cut. */
const cutOff = ({ missing = [] }: ProcessInspection, part: MissingPart): string =>
  missing.includes(part) ? ', and what was cut off' : '';

const mappingLines = (process: ProcessInspection, owner: string): string[] => [
  process.memoryOf === undefined
    ? `${counted(process.mappings.length, 'mapping')}${printable(owner)}${cutOff(process, 'mappings')}`
    : `mappings${printable(owner)}: those of process ${process.memoryOf}`,
  ...columns(process.mappings.map(mappingRow), { indent: INDENT, right: [1, 3, 5] }),
];

function descriptorLines(process: ProcessInspection, onlySockets: boolean, owner: string): string[] {
  const { descriptors, apart = [] } = process;
  const lines = (table: typeof descriptors, whose = ''): string[] => {
    const shown = onlySockets ? table.filter(({ kind }) => kind.includes('socket')) : table;
    const title = `${counted(shown.length, onlySockets ? 'socket' : 'descriptor')}${whose}`;
    return [title, ...columns(shown.map(descriptorRow), { indent: INDENT, right: [0] })];
  };
  const ofThreads = apart.flatMap(({ tid, descriptors: own }) =>
    own === undefined ? [] : lines(own, ` of thread ${tid}`),
  );
  return [...lines(descriptors, `${printable(owner)}${cutOff(process, 'descriptors')}`), ...ofThreads];
}

function executableOf(aspects: ProcessInspection['aspects'], files: Inspection['files']): string | undefined {
  const fields = aspects['memoryMapFields'];
  const object = isObject(fields) ? fields['executable'] : undefined;
  return files.find((file) => file.object === object)?.path;
}

function aspectRows(aspects: { readonly [name: string]: Json }): string[][] {
  return Object.entries(aspects).flatMap(([name, state]) =>
    aspectLines(name, state).map((line, index) => [index === 0 ? wordsOf(name) : '', line]),
  );
}

const aspectTable = (rows: readonly string[][]): string[] => columns(rows, { indent: INDENT });

const REGISTER_COLUMNS = 4;
const BREAKPOINTS = 0xffn;

function threadLines(thread: ThreadInspection): string[] {
  const { name: _, ...others } = thread.aspects;
  const call = thread.systemCall;
  return [
    printable(`thread ${thread.tid}${thread.name === undefined ? '' : ` (${thread.name})`}`),
    ...aspectTable([
      ['in', call === undefined ? codeText(thread) : describeSystemCall(call)],
      ...(thread.place === undefined ? [] : [['at', thread.place]]),
      ['blocked signals', blockedText(thread)],
      ['xstate in use', thread.xstate.inUse.join(', ') || 'none'],
      ['flags', thread.eflags.join(' ') || 'none'],
      ...(thread.threadAreas === undefined ? [] : [['thread areas', thread.threadAreas.join(' ')]]),
      ...debugRow(thread),
      ...aspectRows(others),
    ]),
    ...registerTable(thread),
    ...stackLines(thread),
  ];
}

function stackLines({ stack = [] }: ThreadInspection): string[] {
  if (stack.length === 0) return [];
  const rows = stack.map(({ at: place, address, place: name }) => [place, address, name]);
  return [`${INDENT}return addresses on its stack`, ...columns(rows, { indent: INDENT + INDENT })];
}

const codeText = ({ inVdso }: ThreadInspection): string =>
  inVdso === undefined ? 'its own code' : printable(`the vDSO, ${inVdso}`);

function blockedText({ signalMask, blockedSignals }: ThreadInspection): string {
  if (blockedSignals.length === 0) return 'none';
  const others = signalsNotIn(BigInt(signalMask));
  if (others.length === 0) return 'all';
  return others.length < blockedSignals.length ? `all but ${others.join(' ')}` : blockedSignals.join(' ');
}

/** dr6 says what was hit last; without a breakpoint in dr7 none of them means anything. */
function debugRow({ debugRegisters }: ThreadInspection): string[][] {
  if ((BigInt(debugRegisters[7] ?? '0x0') & BREAKPOINTS) === 0n) return [];
  const used = debugRegisters.flatMap((value, index) => (value === '0x0' ? [] : [`dr${index} ${value}`]));
  return [['debug registers', used.join(' ')]];
}

function registerTable({ registers }: ThreadInspection): string[] {
  const cells = registerNames.flatMap((name) => [name, registers[name]]);
  const rows: string[][] = [];
  for (let index = 0; index < cells.length; index += REGISTER_COLUMNS * 2) {
    rows.push(cells.slice(index, index + REGISTER_COLUMNS * 2));
  }
  return columns(rows, { indent: INDENT });
}

function mappingRow(mapping: MappingInspection): string[] {
  const what = [mapping.file, mapping.name].filter((part) => part !== undefined).join(' ');
  return [
    `${mapping.start.slice(2)}-${mapping.end.slice(2)}`,
    sizeText(mapping.sizeBytes),
    mapping.permissions,
    hex(mapping.offset),
    mapping.kind,
    pagesText(mapping.pages),
    [what, ...mapping.flags.map((flag) => `[${flag}]`)].filter((part) => part !== '').join(' '),
  ];
}

function pagesText({ dataPages, zeroPages, parentPages = 0, relativePages = 0 }: PageCounts): string {
  if (dataPages + zeroPages + parentPages + relativePages === 0) return '-';
  const zero = zeroPages === 0 ? '' : ` + ${zeroPages} zero`;
  const inherited = parentPages === 0 ? '' : ` + ${parentPages} of the parent`;
  const shared = relativePages === 0 ? '' : ` + ${relativePages} of relatives`;
  return `${counted(dataPages, 'page')}${zero}${inherited}${shared}`;
}

/** Set by the kernel itself in every file of a 64-bit program. */
const ALWAYS_SET = 'O_LARGEFILE';

/** What the columns of a descriptor show already. */
const shownFields = ['path', 'file', 'was', 'position', 'flags'];

function descriptorRow(descriptor: DescriptorInspection): string[] {
  const { kind, state } = descriptor;
  const socket = socketWords(kind, state);
  const rest = isObject(state)
    ? Object.fromEntries(Object.entries(state).filter(([key]) => !shownFields.includes(key)))
    : state;
  return [
    String(descriptor.fd),
    descriptor.kind,
    `#${descriptor.object}`,
    [
      ...(descriptor.flags ?? []).filter((flag) => flag !== ALWAYS_SET),
      ...(descriptor.closeOnExec ? ['close-on-exec'] : []),
    ].join(' '),
    descriptor.position === undefined ? '' : `at ${descriptor.position}`,
    [descriptor.path ?? '', ...(socket === undefined ? plain(rest) : [socket])].filter((part) => part !== '').join(' '),
  ];
}

const LARGEST = 8;

/** The mappings that take the most room, of all processes. */
function largestRows({ processes }: Inspection): string[][] {
  const named = processes.flatMap(({ pid, mappings }) =>
    mappings.map((mapping) => ({
      pages: mapping.pages.dataPages,
      bytes: sizeText(mapping.pages.dataPages * PAGE),
      name: [
        mapping.start,
        mapping.name ?? mapping.file ?? mapping.kind,
        ...(processes.length > 1 ? [`of ${pid}`] : []),
      ],
    })),
  );
  const largest = named.filter(({ pages }) => pages > 0).sort((a, b) => b.pages - a.pages);
  return largest
    .slice(0, LARGEST)
    .map(({ bytes, name }, index) => [index === 0 ? 'largest' : '', bytes, name.join(' ')]);
}

function sizeLines(inspection: Inspection): string[] {
  const { sizes } = inspection;
  const dataBytes = sizes.pages.dataPages * PAGE;
  const rows = [
    ['whole image', sizeText(sizes.imageBytes), counted(sizes.records, 'record')],
    ['pages as stored', sizeText(sizes.storedPageBytes), storedText(sizes.storedPageBytes, dataBytes)],
    ['metadata and padding', sizeText(sizes.otherBytes), ''],
    ...sizes.memory.map((one) => [
      one.kind,
      sizeText(one.dataPages * PAGE),
      `${counted(one.mappings, 'mapping')}, ${pagesText(one)}`,
    ]),
    ...sizes.content.map((one) => [`content of #${one.object}`, sizeText(one.dataPages * PAGE), pagesText(one)]),
  ];
  rows.push(...largestRows(inspection));
  return ['sizes', ...columns(rows, { indent: INDENT, right: [1] })];
}

const storedText = (stored: number, data: number): string =>
  stored === data ? 'not compressed' : `${((stored / Math.max(data, 1)) * 100).toFixed(0)} % of ${sizeText(data)}`;
