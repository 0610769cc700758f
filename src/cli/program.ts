/** What the command takes: the definitions from which help, manual pages and shell completion are made. */
import { Command, Option } from 'commander';
import { VERSION } from '../support/version.ts';
import { isLoader, runLoader } from './background.ts';
import { examples } from './examples.ts';
import { closeExternal, external, tcp } from './outside-option.ts';

type Commands = typeof import('./commands.ts');

/** `commands` loads what the commands do, when it is known that something is to be done. */
export function program(commands: () => Promise<Commands>): Command {
  const root = new Command('quicksave')
    .description('Saves running programs and brings them back.')
    .version(VERSION)
    .option('--debug', 'show where in quicksave an error comes from, and how to report it')
    .exitOverride()
    .showHelpAfterError('(quicksave --help shows how it is used)')
    .addHelpText('after', '\nquicksave COMMAND --help shows the options of a command, with examples.');
  addSaving(root, commands);
  addCleanup(root, commands);
  addJobs(root, commands);
  addLooking(root, commands);
  addHelpers(root, commands);
  for (const command of root.commands) {
    command.exitOverride().addHelpText('after', () => exampleText(command.name()));
  }
  return root;
}

function exampleText(name: string): string {
  const lines = (examples[name] ?? []).map(({ line, does }) => `  ${line}\n      ${does}`);
  return lines.length === 0 ? '' : `\nExamples:\n${lines.join('\n')}`;
}

type Load = () => Promise<Commands>;

const compression = (): Option =>
  new Option('--compress [method]', 'compress pages: auto, none, zstd or zstd:LEVEL')
    .default('auto')
    .env('QUICKSAVE_COMPRESS');

/** What is read forwards. */
const SOURCE = 'image: a file, s3://BUCKET/KEY or ssh://HOST/PATH; - is standard input';

const many = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

const encrypt = (): Option =>
  new Option(
    '--encrypt <keyfile>',
    'encrypt the image for whoever has this key: a secret, or a public key; may be given several times',
  ).argParser(many);

const sign = (): Option => new Option('--sign <keyfile>', 'sign the image with this private Ed25519 key');

const key = (): Option =>
  new Option('--key <keyfile>', 'opens encrypted images: a secret, or a private key; may be given several times')
    .argParser(many)
    .env('QUICKSAVE_KEY_FILE');

const verifyKey = (): Option =>
  new Option('--verify-key <keyfile>', 'refuse images that are not signed by the owner of this public Ed25519 key');

const parents = (): Option =>
  new Option('--images <folder>', 'where the parents of an incremental image are; default: where it is');
const trust = (): Option => new Option('--trust', 'take images that belong to other users too');

function addSaving(root: Command, commands: Load): void {
  root
    .command('checkpoint')
    .description('save a running process; it goes on')
    .argument('[pid]', 'process to save')
    .option('--self', 'save the process that runs this command: exit status 0 there, 3 when it has been restarted')
    .requiredOption(
      '-o, --output <file>',
      'where the image goes: a file, s3://BUCKET/KEY or ssh://HOST/PATH; - is standard output',
    )
    .option('--kill', 'end the process once the image is safely on disk')
    .addOption(tcp())
    .addOption(external())
    .addOption(closeExternal())
    .option('--parent <image>', 'write only pages that differ from this earlier image of the process')
    .option('--track', 'track what it writes from now on, for a save with --parent and this image')
    .addOption(compression())
    .addOption(encrypt())
    .addOption(sign())
    .addOption(key())
    .option('--json', 'print the summary, or why there is no image, as data')
    .action(async (pid, options) => (await commands()).runCheckpoint(pid, options));
  root
    .command('restart')
    .description('bring a saved process back')
    .argument('<image>', SOURCE)
    .option('--detach', 'return when it runs, and print its pid')
    .option('--pid-file <file>', 'write its pid into this file')
    .addOption(parents())
    .option('--lazy', 'let it run at once: its pages come when they are touched, and the others behind it')
    .option('--files <policy>', 'files that have changed since: refuse or accept-changed', 'refuse')
    .addOption(
      new Option(
        '--clock <which>',
        'CLOCK_MONOTONIC and CLOCK_BOOTTIME: those of this host, or going on where they stood; default: as the program had it, and going on after a reboot',
      ).choices(['host', 'continue']),
    )
    .option('--cgroups', 'make the cgroups that it was in and that are not there; fail if it cannot be in all of them')
    .option('--no-cgroups', 'leave it in those of this command; default: those of its own that are there')
    .addOption(key())
    .addOption(verifyKey())
    .addOption(trust())
    .option('--json', 'print the summary (with --detach), or why nothing was restarted, as data')
    .action(async (image, options) => {
      // Before anything else is loaded, because that is loaded again there.
      if (options.lazy && options.detach && !isLoader()) process.exitCode = await runLoader();
      else await (await commands()).runRestart(image, options);
    });
  root
    .command('check')
    .description('say what this host can do, or what stands in the way of saving a process')
    .argument('[pid]', 'process to look at; nothing is done to it')
    .option('--stop', 'stop it for some milliseconds, as for a save, and ask it what only itself can tell')
    .option('--kill', 'say what stands in the way of a save with --kill')
    .addOption(tcp())
    .addOption(external())
    .addOption(closeExternal())
    .option('--json', 'print the result as data')
    .action(async (pid, options) => (await commands()).runCheck(pid, options));
}

function addCleanup(root: Command, commands: Load): void {
  root
    .command('cleanup')
    .description('let TCP connections go that a save holds silent, if it will not be restarted')
    .action(async () => (await commands()).runCleanup());
}

function addJobs(root: Command, commands: Load): void {
  const every = new Option('--every <time>', 'how often it is saved').default('10m').env('QUICKSAVE_EVERY');
  const keep = new Option('--keep <number>', 'how many saves stay').default('3').env('QUICKSAVE_KEEP');
  const folder = new Option('--dir <folder>', 'where its saves and its state are').default('.quicksave');
  const grace = new Option('--grace <time>', 'how long the last save may take after SIGTERM or SIGUSR1').default('25s');
  root
    .command('run')
    .description('run a program under care: save it again and again, and go on from the newest save when started again')
    .argument('<command...>', 'the program and its arguments, after --')
    .addOption(every)
    .addOption(keep)
    .addOption(folder.env('QUICKSAVE_DIR'))
    .addOption(grace.env('QUICKSAVE_GRACE'))
    .option('--incremental', 'write only what has changed since an earlier save of this start, where that pays')
    .option('--log <file>', "append the program's output to this file")
    .addOption(compression())
    .option('--files <policy>', 'files that have changed since a save: refuse or accept-changed', 'refuse')
    .option('--fresh', 'start over, whatever has been saved')
    .addOption(encrypt())
    .addOption(sign())
    .addOption(key())
    .addOption(trust())
    .action(async (command, options) => (await commands()).runRun(command, options));
  root
    .command('status')
    .description('show how a job stands')
    .argument('<folder>', 'folder of a job: --dir of quicksave run')
    .option('--json', 'print the result as data')
    .action(async (path, options) => (await commands()).runStatus(path, options));
  root
    .command('history')
    .description('show what has happened to a job')
    .argument('<folder>', 'folder of a job: --dir of quicksave run')
    .option('--json', 'print a line of data for each event')
    .action(async (path, options) => (await commands()).runHistory(path, options));
}

function addLooking(root: Command, commands: Load): void {
  root
    .command('inspect')
    .description('show what is in an image: the process tree and what takes room, or one thing closely')
    .argument('<image>', SOURCE)
    .option('--task <pid>', 'only this process: its state, its threads with registers, and where they stood')
    .option('--maps', 'the mappings')
    .option('--fds', 'the descriptors')
    .option('--sockets', 'the descriptors that are sockets')
    .option('--memory <address>', 'bytes of memory: ADDRESS or ADDRESS:LENGTH')
    .option('--strings [length]', 'texts in memory, of at least 4 characters')
    .option('--search <text>', 'where a text stands in memory')
    .option('--all', 'everything but the bytes of memory')
    .addOption(parents())
    .option('--json', 'print the result as data: docs/inspect-json.md')
    .addOption(key())
    .action(async (image, options) => (await commands()).runInspect(image, options));
  root
    .command('diff')
    .description('show what changed between two saves')
    .argument('<a>', `the earlier ${SOURCE}`)
    .argument('<b>', 'the later one')
    .option('--images <folder>', 'where the parents of incremental images are; default: where they are')
    .option('--json', 'print the result as data')
    .addOption(key())
    .action(async (a, b, options) => (await commands()).runDiff(a, b, options));
  root
    .command('export')
    .description('write an image in the format of another system, or as a core file for a debugger')
    .argument('<image>', SOURCE)
    .requiredOption(
      '--format <format>',
      'core: an ELF core file; linux-cr-v8: the stream of kernel based checkpoint/restart, 2008',
    )
    .option('--task <pid>', 'the process that a core file is of; the root of the tree if it is not given')
    .requiredOption('-o, --output <file>', 'where it goes; - is standard output')
    .addOption(parents())
    .addOption(key())
    .action(async (image, options) => (await commands()).runExport(image, options));
  root
    .command('report')
    .description('make a page to look at of an image: one HTML file that needs nothing else')
    .argument('<image>', SOURCE)
    .requiredOption('-o, --output <file>', 'where the page goes; - is standard output')
    .addOption(parents())
    .addOption(key())
    .action(async (image, options) => (await commands()).runReport(image, options));
  root
    .command('merge')
    .description('make a whole image of an incremental one and those that it builds on')
    .argument('<image>', SOURCE)
    .requiredOption('-o, --output <file>', 'where the whole image goes; - is standard output')
    .option('--images <folder>', 'where the parents are; default: where the image is')
    .addOption(compression())
    .addOption(encrypt())
    .addOption(sign())
    .addOption(key())
    .action(async (image, options) => (await commands()).runMerge(image, options));
  root
    .command('verify')
    .description('read an image and check all of it')
    .argument('<image>', SOURCE)
    .addOption(parents())
    .addOption(key())
    .addOption(verifyKey())
    .option('--json', 'print the result as data')
    .action(async (image, options) => (await commands()).runVerify(image, options));
}

function addHelpers(root: Command, commands: Load): void {
  root
    .command('keygen')
    .description('make a key file: a secret that encrypts and opens images')
    .argument('<file>', 'where it goes; it must not be there yet. A public key goes into FILE.pub')
    .option('--recipient', 'a pair of X25519 keys: whoever has the public one can encrypt, but not open')
    .option('--signing', 'a pair of Ed25519 keys: the private one signs, the public one verifies')
    .action(async (file, options) => (await commands()).runKeygen(file, options));
  root
    .command('completion')
    .description('print the completion of a shell')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell) => (await commands()).runCompletion(root, shell));
  root
    .command('version')
    .description('print the version')
    .option('--json', 'with the versions of the image format, Node and the kernel')
    .action(async (options) => (await commands()).runVersion(options));
}
