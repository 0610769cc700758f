/** Manual pages, made from the definitions of the commands: man(7). */
import type { Command, Option } from 'commander';
import { examples } from './examples.ts';
import { EXIT_STATUSES } from './exit-status.ts';

export interface ManPage {
  /** `quicksave-run.1` */
  readonly file: string;
  readonly text: string;
}

export function manPages(root: Command, version: string): ManPage[] {
  return [rootPage(root, version), ...root.commands.map((command) => commandPage(command, version))];
}

/** A line that begins with a full stop or an apostrophe would be a request; a backslash begins an escape. */
const escaped = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

const title = (name: string, version: string): string =>
  `.TH ${name.toUpperCase()} 1 "" "quicksave ${version}" "quicksave"`;

function rootPage(root: Command, version: string): ManPage {
  const commands = root.commands.flatMap((command) => [
    '.TP',
    `.B ${escaped(command.name())}`,
    `${escaped(command.description())}. See quicksave\\-${escaped(command.name())}(1).`,
  ]);
  const lines = [
    title('quicksave', version),
    '.SH NAME',
    `quicksave \\- ${escaped(root.description().replace(/\.$/, '').replace(/^S/, 's'))}`,
    '.SH SYNOPSIS',
    '.B quicksave',
    '.I COMMAND',
    '[\\fIOPTION\\fR...]',
    '.SH COMMANDS',
    ...commands,
    '.SH ENVIRONMENT',
    ...environment.flatMap(([name, means]) => ['.TP', `.B ${name}`, escaped(means)]),
    '.SH EXIT STATUS',
    ...EXIT_STATUSES.flatMap(({ status, means }) => ['.TP', `.B ${status}`, escaped(means)]),
    '.SH ERRORS',
    escaped(
      'An error is a sentence, what to do, and a code in brackets; docs/errors.md has a paragraph on each code. With --json it is data on standard output too: an object with the field error. quicksave --debug shows where in quicksave it comes from, and how to report it.',
    ),
  ];
  return { file: 'quicksave.1', text: `${lines.join('\n')}\n` };
}

export const environment: readonly (readonly [name: string, means: string])[] = [
  ['NO_COLOR', 'Any value but the empty one: no colours. TERM=dumb does the same.'],
  ['QUICKSAVE_COMPRESS', 'Default of --compress.'],
  [
    'QUICKSAVE_EVERY, QUICKSAVE_KEEP, QUICKSAVE_DIR, QUICKSAVE_GRACE',
    'Defaults of the options of quicksave run of the same names.',
  ],
  ['QUICKSAVE_KEY_FILE', 'A key file that opens encrypted images: default of --key.'],
  [
    'AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL',
    'Where s3:// addresses lead, and with which key.',
  ],
  ['QUICKSAVE_S3_PART_MIB', 'Size of the parts of an image in an object store: 5 to 5120, default 32.'],
  ['QUICKSAVE_JOB', 'Set by quicksave run for its program: the id of the job.'],
];

function commandPage(command: Command, version: string): ManPage {
  const name = `quicksave-${command.name()}`;
  const shown = command.registeredArguments.map((argument) => {
    const word = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `\\fI${escaped(word)}\\fR` : `[\\fI${escaped(word)}\\fR]`;
  });
  const lines = [
    title(name, version),
    '.SH NAME',
    `${escaped(name)} \\- ${escaped(command.description())}`,
    '.SH SYNOPSIS',
    `.B quicksave ${escaped(command.name())}`,
    ['[\\fIoptions\\fR]', ...shown].join(' '),
    ...section(
      'ARGUMENTS',
      command.registeredArguments.flatMap((one) => ['.TP', `.I ${escaped(one.name())}`, escaped(one.description)]),
    ),
    ...section(
      'OPTIONS',
      command.options.flatMap((option) => ['.TP', `.B ${escaped(option.flags)}`, escaped(optionText(option))]),
    ),
    ...section(
      'EXAMPLES',
      (examples[command.name()] ?? []).flatMap(({ line, does }) => ['.TP', `.B ${escaped(line)}`, escaped(does)]),
    ),
    '.SH SEE ALSO',
    'quicksave(1)',
  ];
  return { file: `${name}.1`, text: `${lines.join('\n')}\n` };
}

const section = (name: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SH ${name}`, ...lines];

function optionText({ description, defaultValue, envVar }: Option): string {
  const facts = [
    ...(defaultValue === undefined ? [] : [`default: ${String(defaultValue)}`]),
    ...(envVar === undefined ? [] : [`environment: ${envVar}`]),
  ];
  return facts.length === 0 ? description : `${description} (${facts.join(', ')})`;
}
