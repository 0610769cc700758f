/** Entry of the command: what it takes. What it does is loaded when it is known that something is to be done. */
import { Command, CommanderError } from 'commander';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const commands = (): Promise<typeof import('./commands.ts')> => import('./commands.ts');

function program(): Command {
  const root = new Command('quicksave')
    .description('Saves running programs and brings them back.')
    .version('0.1.0')
    .option('--debug', 'show where in quicksave an error comes from')
    .exitOverride()
    .showHelpAfterError('(quicksave --help shows how it is used)');
  root
    .command('checkpoint')
    .description('save a running process; it goes on')
    .argument('[pid]', 'process to save')
    .option('--self', 'save the process that runs this command: exit status 0 there, 3 when it has been restarted')
    .requiredOption('-o, --output <file>', 'where the image goes; - is standard output')
    .option('--kill', 'end the process once the image is safely on disk')
    .option(
      '--tcp <policy>',
      'TCP connections: established (kept), close (they come back as reset) or refuse',
      'established',
    )
    .option('--compress [method]', 'compress pages: none, zstd or zstd:LEVEL', 'none')
    .exitOverride()
    .action(async (pid, options) => (await commands()).runCheckpoint(pid, options));
  root
    .command('restart')
    .description('bring a saved process back')
    .argument('<image>', 'image file; - is standard input')
    .option('--detach', 'return when it runs, and print its pid')
    .option('--pid-file <file>', 'write its pid into this file')
    .option('--files <policy>', 'files that have changed since: refuse or accept-changed', 'refuse')
    .exitOverride()
    .action(async (image, options) => (await commands()).runRestart(image, options));
  root
    .command('check')
    .description('say what this host can do, or what stands in the way of saving a process')
    .argument('[pid]', 'process to look at; nothing is done to it')
    .option('--json', 'print the result as data')
    .exitOverride()
    .action(async (pid, options) => (await commands()).runCheck(pid, options));
  root
    .command('cleanup')
    .description('let TCP connections go that a save holds silent, if it will not be restarted')
    .exitOverride()
    .action(async () => (await commands()).runCleanup());
  root
    .command('inspect')
    .description('show what is in an image')
    .argument('<image>', 'image file; - is standard input')
    .option('--json', 'print the result as data')
    .exitOverride()
    .action(async (image, options) => (await commands()).runInspect(image, options));
  root
    .command('diff')
    .description('show what changed between two saves')
    .argument('<a>', 'image file, the earlier one')
    .argument('<b>', 'image file, the later one')
    .option('--json', 'print the result as data')
    .exitOverride()
    .action(async (a, b, options) => (await commands()).runDiff(a, b, options));
  root
    .command('export')
    .description('write an image in the format of another system')
    .argument('<image>', 'image file; - is standard input')
    .requiredOption('--format <format>', 'linux-cr-v8: the stream of kernel based checkpoint/restart, 2008')
    .requiredOption('-o, --output <file>', 'where it goes; - is standard output')
    .exitOverride()
    .action(async (image, options) => (await commands()).runExport(image, options));
  root
    .command('verify')
    .description('read an image and check all of it')
    .argument('<image>', 'image file; - is standard input')
    .exitOverride()
    .action(async (image) => (await commands()).runVerify(image));
  return root;
}

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
    await program().parseAsync(process.argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has told the user what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    return await failWith(error);
  }
}

process.exit(await main());
