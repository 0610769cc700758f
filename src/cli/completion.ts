/** Completion scripts of shells, made from the definitions of the commands. */
import type { Argument, Command, Option } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

interface CommandWords {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionWords[];
  /** What its first argument can be. */
  readonly takes: Values;
}

interface OptionWords {
  readonly names: readonly string[];
  readonly description: string;
  readonly needsValue: boolean;
  readonly takes: Values;
}

/** Some words, or what the shell knows. */
type Values = readonly string[] | 'pids' | 'folders' | 'files';

export function completionOf(root: Command, shell: Shell): string {
  const commands = root.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: [...command.options.map(wordsOf), { ...helpOption }],
    takes: valuesOf(command.registeredArguments[0]),
  }));
  const names = [...root.options.flatMap((option) => wordsOf(option).names), '--help'];
  return { bash, zsh, fish }[shell](commands, names);
}

const helpOption: OptionWords = { names: ['--help'], description: 'show help', needsValue: false, takes: 'files' };

/** Of options and arguments that check their values themselves. */
const choices: Readonly<Record<string, readonly string[]>> = {
  '--compress': ['auto', 'none', 'zstd'],
  '--files': ['refuse', 'accept-changed'],
  '--format': ['core', 'linux-cr-v8'],
  '--tcp': ['established', 'close', 'refuse'],
  shell: shells,
};

const wordsOf = (option: Option): OptionWords => ({
  names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
  description: option.description,
  needsValue: option.required,
  takes: option.argChoices ?? choices[option.long ?? ''] ?? kindOf(option.flags),
});

const valuesOf = (argument: Argument | undefined): Values =>
  choices[argument?.name() ?? ''] ?? kindOf(argument?.name() ?? '');

function kindOf(name: string): Values {
  if (/\bpid\b/.test(name) && !name.includes('file')) return 'pids';
  return name.includes('folder') ? 'folders' : 'files';
}

/** Arguments of compgen. */
function forBash(takes: Values): string {
  if (takes === 'pids') return '-W "$(cd /proc && echo [0-9]*)"';
  if (takes === 'folders') return '-d';
  return takes === 'files' ? '-f' : `-W '${takes.join(' ')}'`;
}

function bash(commands: readonly CommandWords[], rootOptions: readonly string[]): string {
  const cases = commands.map(
    ({ name, options, takes }) =>
      `    ${name}) words='${options.flatMap(({ names }) => names).join(' ')}' values=(${forBash(takes)}) ;;`,
  );
  const ofOptions = commands.flatMap(({ name, options }) =>
    options
      .filter(({ needsValue }) => needsValue)
      .map(
        ({ names, takes }) =>
          `    ${names.map((one) => `'${name} ${one}'`).join('|')}) values=(${forBash(takes)}) word=\${word#-} ;;`,
      ),
  );
  return `# bash completion of quicksave
_quicksave() {
  local word=\${COMP_WORDS[COMP_CWORD]} words= values=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${[...commands.map(({ name }) => name), ...rootOptions].join(' ')}' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD-1]}" in
${ofOptions.join('\n')}
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen "\${values[@]}" -- "$word")) ;;
  esac
}
complete -o filenames -F _quicksave quicksave
`;
}

/** Within single quotes, where colons and brackets have a meaning of their own. */
const forZsh = (text: string): string => text.replace(/[[\]:\\]/g, (one) => `\\${one}`).replaceAll("'", "'\\''");

/** The action of a specification of _arguments. */
function zshValues(takes: Values): string {
  if (takes === 'pids') return ':process:_pids';
  if (takes === 'folders') return ':folder:_files -/';
  return takes === 'files' ? ':file:_files' : `:value:(${takes.join(' ')})`;
}

function zsh(commands: readonly CommandWords[], rootOptions: readonly string[]): string {
  const list = commands.map(({ name, description }) => `    '${name}:${forZsh(description)}'`);
  const cases = commands.map(({ name, options, takes }) => {
    const specs = options.flatMap(({ names, description, needsValue, takes: values }) =>
      names.map((one) => `'${one}[${forZsh(description)}]${needsValue ? zshValues(values) : ''}'`),
    );
    return `    ${name}) _arguments ${[...specs, `'*${zshValues(takes)}'`].join(' ')} ;;`;
  });
  return `#compdef quicksave
_quicksave() {
  local -a commands
  commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    compadd -- ${rootOptions.join(' ')}
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _quicksave ]; then _quicksave "$@"; else compdef _quicksave quicksave; fi
`;
}

const forFish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/** Options of complete(1). */
function fishValues(takes: Values): string {
  if (takes === 'pids') return " -f -a '(__fish_complete_pids)'";
  if (takes === 'folders') return " -f -a '(__fish_complete_directories)'";
  return takes === 'files' ? ' -F' : ` -f -a '${takes.join(' ')}'`;
}

const flagsOf = (names: readonly string[]): string =>
  names.map((one) => (one.startsWith('--') ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`)).join(' ');

function fish(commands: readonly CommandWords[], rootOptions: readonly string[]): string {
  const lines = commands.flatMap(({ name, description, options, takes }) => [
    `complete -c quicksave -f -n __fish_use_subcommand -a ${name} -d ${forFish(description)}`,
    `complete -c quicksave -n '__fish_seen_subcommand_from ${name}'${fishValues(takes)}`,
    ...options.map(({ names, description: text, needsValue, takes: values }) => {
      const value = needsValue ? ` -r${fishValues(values)}` : '';
      return `complete -c quicksave -n '__fish_seen_subcommand_from ${name}' ${flagsOf(names)}${value} -d ${forFish(text)}`;
    }),
  ]);
  const ofRoot = rootOptions.map((one) => `complete -c quicksave -n __fish_use_subcommand ${flagsOf([one])}`);
  return `# fish completion of quicksave\n${[...ofRoot, ...lines].join('\n')}\n`;
}
