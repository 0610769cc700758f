/** Entry of the command. What it does is loaded when it is known that something is to be done. */
import { CommanderError } from 'commander';
import { program } from './program.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const commands = (): Promise<typeof import('./commands.ts')> => import('./commands.ts');

/** The rest of the command may be what cannot be loaded: a package of machine code that is missing, or too little memory. */
async function failWith(error: unknown): Promise<number> {
  const debug = process.argv.includes('--debug');
  const loaded = await commands().catch((cause: unknown) => {
    const [reason] = String(cause instanceof Error ? cause.message : cause).split('\n');
    console.error(`quicksave: It could not be started: ${reason}`);
    console.error(debug ? cause : '  Install it again (npm ci), or give it more memory (ulimit -v).');
    return undefined;
  });
  return loaded?.failWith(error, debug) ?? EXIT_FAILED;
}

async function main(): Promise<number> {
  try {
    await program(commands).parseAsync(process.argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has told the user what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    return await failWith(error);
  }
}

process.exit(await main());
