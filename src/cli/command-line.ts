/** Takes a command line. What its command does is loaded when it is known that something is to be done. */
import { CommanderError } from 'commander';
import { loadBundle } from './compiled-bundle.ts';
import { EXIT_FAILED, EXIT_USAGE } from './exit-status.ts';
import type { ErrorStyle } from './print-error.ts';
import { program } from './program.ts';

type Commands = typeof import('./commands.ts');

let loaded: Commands | undefined;

async function commands(): Promise<Commands> {
  loaded ??= loadBundle('commands').exports as Commands;
  return loaded;
}

/** Known when the command line has been read. */
let style: ErrorStyle = { debug: false, json: false };

/** The rest of the command may be what cannot be loaded: a package of machine code that is missing, or too little memory. */
export async function failWith(error: unknown): Promise<number> {
  const all = await commands().catch((cause: unknown) => {
    const [reason] = String(cause instanceof Error ? cause.message : cause).split('\n');
    console.error(`quicksave: It could not be started: ${reason}`);
    console.error(style.debug ? cause : '  Install it again (npm ci), or give it more memory (ulimit -v).');
    return undefined;
  });
  return all?.failWith(error, style) ?? EXIT_FAILED;
}

/**
 * `argv` as process.argv has it.
 * @returns the exit status
 */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    const root = program(commands);
    root.hook('preAction', async (_root, command) => {
      style = { debug: root.opts()['debug'] === true, json: command.opts()['json'] === true };
      if (style.debug) (await commands()).traceCalls();
      const faults = process.env['QUICKSAVE_FAULT'];
      if (faults !== undefined) (await commands()).startFaultPoints(faults);
    });
    await root.parseAsync(argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has told the user what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    return await failWith(error);
  }
}
