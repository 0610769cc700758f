/** Entry of the command: as little as can be, because all that is loaded here is compiled anew each time. */
import { loadBundle } from './compiled-bundle.ts';

const { failWith, run } = loadBundle('command-line').exports as typeof import('./command-line.ts');

/** Also what is thrown where nobody waits for it is told in a sentence, not as a stack trace. */
process.on('uncaughtException', async (error) => process.exit(await failWith(error)));
process.exit(await run(process.argv));
