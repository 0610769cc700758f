/** Completion scripts of shells, made from the definitions of the commands. */
import type { Command, Option } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

interface CommandWords {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionWords[];
}

interface OptionWords {
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly needsValue: boolean;
}

export function completionOf(root: Command, shell: Shell): string {
  const commands = root.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: [...command.options.map(wordsOf), { ...helpOption }],
  }));
  return { bash, zsh, fish }[shell](commands);
}

const helpOption: OptionWords = { names: ['--help'], description: 'show help', takesValue: false, needsValue: false };

const wordsOf = (option: Option): OptionWords => ({
  names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
  description: option.description,
  takesValue: option.required || option.optional,
  needsValue: option.required,
});

function bash(commands: readonly CommandWords[]): string {
  const cases = commands.map(
    ({ name, options }) => `    ${name}) words='${options.flatMap(({ names }) => names).join(' ')}' ;;`,
  );
  return `# bash completion of quicksave
_quicksave() {
  local word=\${COMP_WORDS[COMP_CWORD]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')} --help --version' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _quicksave quicksave
`;
}

/** Within single quotes, where colons and brackets have a meaning of their own. */
const forZsh = (text: string): string => text.replace(/[[\]:\\]/g, (one) => `\\${one}`).replaceAll("'", "'\\''");

function zsh(commands: readonly CommandWords[]): string {
  const list = commands.map(({ name, description }) => `    '${name}:${forZsh(description)}'`);
  const cases = commands.map(({ name, options }) => {
    const specs = options.flatMap(({ names, description, needsValue }) =>
      names.map((one) => `'${one}[${forZsh(description)}]${needsValue ? ':value:_files' : ''}'`),
    );
    return `    ${name}) _arguments ${[...specs, "'*:file:_files'"].join(' ')} ;;`;
  });
  return `#compdef quicksave
_quicksave() {
  local -a commands
  commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
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

function fish(commands: readonly CommandWords[]): string {
  const lines = commands.flatMap(({ name, description, options }) => [
    `complete -c quicksave -f -n __fish_use_subcommand -a ${name} -d ${forFish(description)}`,
    ...options.map(({ names, description: text, needsValue }) => {
      const flags = names.map((one) => (one.startsWith('--') ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`));
      const value = needsValue ? ' -r' : '';
      return `complete -c quicksave -n '__fish_seen_subcommand_from ${name}' ${flags.join(' ')}${value} -d ${forFish(text)}`;
    }),
  ]);
  return `# fish completion of quicksave\n${lines.join('\n')}\n`;
}
