/** `quicksave merge IMAGE --output FILE|-` */
import { isatty } from 'node:tty';
import { chooseCompression, ORDINARY_LEVEL } from '../checkpoint/compression-choice.ts';
import { openOutput } from '../checkpoint/remote-output.ts';
import { ImageStream } from '../checkpoint/write-image.ts';
import { mergeImage } from '../export/merge.ts';
import { readProtection } from '../image/protection.ts';
import { counted, sizeText } from '../report/table.ts';
import { parseCompression } from './compression-option.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly output: string;
  readonly images?: string;
  readonly compress: string | true;
  readonly encrypt?: readonly string[];
  readonly sign?: string;
  readonly key?: readonly string[];
}

const STANDARD_OUTPUT = 1;

export function runMerge(source: string, options: Options): void {
  const wanted = parseCompression(options.compress);
  const { encrypt, sign, key: keys } = options;
  const { protection, access } = readProtection({ encrypt, sign, keys });
  if (options.output === '-' && isatty(STANDARD_OUTPUT)) {
    throw new UsageError('an image is not written to a terminal; give a file, or send it into a pipe.');
  }
  const output = openOutput(options.output);
  try {
    const choice = chooseCompression(wanted, { output, isWaitedFor: false, pageBytes: 0 });
    const level = choice === 'trial' ? ORDINARY_LEVEL : choice;
    const stream = new ImageStream(output, protection);
    const { pid, pages } = mergeImage(source, stream.writer, { images: options.images, access, level });
    stream.end();
    output.commit();
    printLine(`merged the image of process ${pid}: ${counted(pages, 'page')}, ${sizeText(stream.writtenBytes)}`);
  } catch (error) {
    output.abandon();
    throw error;
  }
}
