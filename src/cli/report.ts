/** `quicksave report IMAGE --output page.html` */
import { readFileSync } from 'node:fs';
import { openOutput } from '../checkpoint/remote-output.ts';
import { imagesBeside } from '../image/image-folder.ts';
import { readAccess } from '../image/protection.ts';
import { openInput } from '../remote/open-input.ts';
import { pageOf } from '../report/page.ts';
import { sizeText } from '../report/table.ts';
import { openForLooking } from '../report/task-view.ts';
import { printLine } from './print-error.ts';

interface Options {
  readonly output: string;
  readonly images?: string;
  readonly key?: readonly string[];
}

export function runReport(source: string, { output: path, images, key: keys }: Options): void {
  const access = readAccess({ keys });
  const opened = openInput(source, { access });
  let page: Buffer;
  try {
    const image = openForLooking(opened, imagesBeside(source, images, access));
    try {
      page = Buffer.from(pageOf(image, { script: asset('report-page.js'), style: asset('report-page.css') }));
    } finally {
      image.close();
    }
  } finally {
    opened.close();
  }
  const output = openOutput(path);
  try {
    output.write(page, 0);
    output.commit();
  } catch (error) {
    output.abandon();
    throw error;
  }
  if (path !== '-') printLine(`wrote ${path}: ${sizeText(page.length)}`);
}

/** Beside the bundle of the commands. */
const asset = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8').trim();
