/** `quicksave diff A B [--json]` */
import { readAccess } from '../image/protection.ts';
import { diffImages } from '../report/diff.ts';
import { renderDifference } from '../report/render-diff.ts';
import { paintFor } from './colour.ts';
import { printResult } from './print-result.ts';

const STANDARD_OUTPUT = 1;

interface Options {
  readonly json?: boolean;
  readonly images?: string;
  readonly key?: readonly string[];
}

export function runDiff(a: string, b: string, options: Options): void {
  const difference = diffImages(a, b, { images: options.images, access: readAccess({ keys: options.key }) });
  printResult(
    options.json
      ? `${JSON.stringify(difference, undefined, 2)}\n`
      : renderDifference(difference, paintFor(STANDARD_OUTPUT)),
  );
}
