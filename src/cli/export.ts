/** `quicksave export --format FORMAT IMAGE --output FILE|-` */
import { isatty } from 'node:tty';
import { outputTo, streamOutput } from '../checkpoint/output.ts';
import { type ExportSummary, exportImage } from '../export/export.ts';
import { exportFormats } from '../export/formats.ts';
import { openInput } from '../image/image-source.ts';
import { counted, printable, sizeText } from '../report/table.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly format: string;
  readonly output: string;
}

const STANDARD_OUTPUT = 1;

export function runExport(source: string, options: Options): void {
  const format = exportFormats.find(({ name }) => name === options.format);
  if (format === undefined) {
    throw new UsageError(
      `--format takes ${exportFormats.map(({ name }) => name).join(' or ')}, not "${options.format}".`,
    );
  }
  if (options.output === '-' && isatty(STANDARD_OUTPUT)) {
    throw new UsageError('an image is not written to a terminal; give a file, or send it into a pipe.');
  }
  const opened = openInput(source);
  try {
    const output = options.output === '-' ? streamOutput(STANDARD_OUTPUT) : outputTo(options.output);
    let summary: ExportSummary;
    try {
      let position = 0;
      summary = exportImage(opened, format, (bytes) => {
        output.write(bytes, position);
        position += bytes.length;
      });
      output.commit();
    } catch (error) {
      output.abandon();
      throw error;
    }
    printSummary(summary, format.name);
  } finally {
    opened.close();
  }
}

function printSummary({ pid, records, pages, sizeBytes, losses }: ExportSummary, format: string): void {
  const size = `${counted(records, 'record')}, ${counted(pages, 'page')}, ${sizeText(sizeBytes)}`;
  printLine(`exported process ${pid} as ${format}: ${size}`);
  for (const loss of losses) printLine(printable(`  not in it: ${loss}`));
}
