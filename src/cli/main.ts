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
    .command('inspect')
    .description('show what is in an image: the process tree and what takes room, or one thing closely')
    .argument('<image>', 'image file; - is standard input')
    .option('--task <pid>', 'only this process: its state, its threads with registers, and where they stood')
    .option('--maps', 'the mappings')
    .option('--fds', 'the descriptors')
    .option('--sockets', 'the descriptors that are sockets')
    .option('--memory <address>', 'bytes of memory: ADDRESS or ADDRESS:LENGTH')
    .option('--strings [length]', 'texts in memory, of at least 4 characters')
    .option('--search <text>', 'where a text stands in memory')
    .option('--all', 'everything but the bytes of memory')
    .option('--json', 'print the result as data: docs/inspect-json.md')
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
    .description('write an image in the format of another system, or as a core file for a debugger')
    .argument('<image>', 'image file; - is standard input')
    .requiredOption(
      '--format <format>',
      'core: an ELF core file; linux-cr-v8: the stream of kernel based checkpoint/restart, 2008',
    )
    .option('--task <pid>', 'the process that a core file is of; the root of the tree if it is not given')
    .requiredOption('-o, --output <file>', 'where it goes; - is standard output')
    .exitOverride()
    .action(async (image, options) => (await commands()).runExport(image, options));
  root
    .command('verify')
    .description('read an image and check all of it')
    .argument('<image>', 'image file; - is standard input')
    .exitOverride()
    .action(async (image) => (await commands()).runVerify(image));
  root
    .command('run')
    .description('run a program under care: save it again and again, and go on from the newest save when started again')
    .argument('<command...>', 'the program and its arguments, after --')
    .option('--every <time>', 'how often it is saved', '10m')
    .option('--keep <number>', 'how many saves stay', '3')
    .option('--dir <folder>', 'where its saves and its state are', '.quicksave')
    .option('--grace <time>', 'how long the last save may take after SIGTERM or SIGUSR1', '25s')
    .option('--log <file>', "append the program's output to this file")
    .option('--compress [method]', 'compress pages: none, zstd or zstd:LEVEL', 'none')
    .option('--files <policy>', 'files that have changed since a save: refuse or accept-changed', 'refuse')
    .option('--fresh', 'start over, whatever has been saved')
    .exitOverride()
    .action(async (command, options) => (await commands()).runRun(command, options));
  root
    .command('status')
    .description('show how a job stands')
    .argument('<folder>', 'folder of a job: --dir of quicksave run')
    .option('--json', 'print the result as data')
    .exitOverride()
    .action(async (folder, options) => (await commands()).runStatus(folder, options));
  root
    .command('history')
    .description('show what has happened to a job')
    .argument('<folder>', 'folder of a job: --dir of quicksave run')
    .option('--json', 'print a line of data for each event')
    .exitOverride()
    .action(async (folder, options) => (await commands()).runHistory(folder, options));
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
