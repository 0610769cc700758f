/** `quicksave merge IMAGE --output FILE|-` */
import { isatty } from 'node:tty';
import { chooseCompression, ORDINARY_LEVEL } from '../checkpoint/compression-choice.ts';
import { outputTo, streamOutput } from '../checkpoint/output.ts';
import { mergeImage } from '../export/merge.ts';
import { counted, sizeText } from '../report/table.ts';
import { parseCompression } from './compression-option.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly output: string;
  readonly images?: string;
  readonly compress: string | true;
}

const STANDARD_OUTPUT = 1;

export function runMerge(source: string, options: Options): void {
  const wanted = parseCompression(options.compress);
  if (options.output === '-' && isatty(STANDARD_OUTPUT)) {
    throw new UsageError('an image is not written to a terminal; give a file, or send it into a pipe.');
  }
  const output = options.output === '-' ? streamOutput(STANDARD_OUTPUT) : outputTo(options.output);
  try {
    const choice = chooseCompression(wanted, { output, isWaitedFor: false, pageBytes: 0 });
    const level = choice === 'trial' ? ORDINARY_LEVEL : choice;
    let position = 0;
    const write = (bytes: Uint8Array): void => {
      output.write(bytes, position);
      position += bytes.length;
    };
    const { pid, pages, imageBytes } = mergeImage(source, { write }, { images: options.images, level });
    output.commit();
    printLine(`merged the image of process ${pid}: ${counted(pages, 'page')}, ${sizeText(imageBytes)}`);
  } catch (error) {
    output.abandon();
    throw error;
  }
}
