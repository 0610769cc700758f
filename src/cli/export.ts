/** `quicksave export --format FORMAT IMAGE --output FILE|-` */
import { isatty } from 'node:tty';
import type { Output } from '../checkpoint/output.ts';
import { openOutput } from '../checkpoint/remote-output.ts';
import { type ExportSummary, exportImage } from '../export/export.ts';
import { exportFormats } from '../export/formats.ts';
import { imagesBeside } from '../image/image-folder.ts';
import { readAccess } from '../image/protection.ts';
import { openInput } from '../remote/open-input.ts';
import { counted, printable, sizeText } from '../report/table.ts';
import { parsePid } from './checkpoint.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly format: string;
  readonly output: string;
  readonly task?: string;
  readonly images?: string;
  readonly key?: readonly string[];
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
  if (options.task !== undefined && !format.takesProcess) throw new UsageError(`--task is not for ${format.name}.`);
  const process = options.task === undefined ? undefined : parsePid(options.task);
  const access = readAccess({ keys: options.key });
  const opened = openInput(source, { access });
  try {
    const output = openOutput(options.output);
    let summary: ExportSummary;
    try {
      const sink = new Sink(output);
      summary = exportImage(opened, format, sink, { process, find: imagesBeside(source, options.images, access) });
      sink.end();
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

const ZEROS = new Uint8Array(64 * 1024);

/** In order, with holes in a file where there are zeros. */
class Sink {
  readonly #output: Output;
  #position = 0;
  #endsWithHole = false;

  constructor(output: Output) {
    this.#output = output;
  }

  readonly write = (bytes: Uint8Array): void => {
    this.#output.write(bytes, this.#position);
    this.#position += bytes.length;
    this.#endsWithHole = false;
  };

  readonly zeros = (length: number): void => {
    if (this.#output.positioned) {
      this.#position += length;
      this.#endsWithHole = true;
      return;
    }
    for (let left = length; left > 0; left -= ZEROS.length) this.write(ZEROS.subarray(0, left));
  };

  /** A file is as long as its last byte is far. */
  end(): void {
    if (this.#endsWithHole) this.#output.write(ZEROS.subarray(0, 1), this.#position - 1);
  }
}

function printSummary({ pid, records, pages, sizeBytes, losses }: ExportSummary, format: string): void {
  const parts = records === undefined ? [] : [counted(records, 'record')];
  const size = [...parts, counted(pages, 'page'), sizeText(sizeBytes)].join(', ');
  printLine(`exported process ${pid} as ${format}: ${size}`);
  for (const loss of losses) printLine(printable(`  not in it: ${loss}`));
}
