/** `quicksave diff A B [--json]` */
import { diffImages } from '../report/diff.ts';
import { renderDifference } from '../report/render-diff.ts';
import { printResult } from './print-result.ts';

interface Options {
  readonly json?: boolean;
  readonly images?: string;
}

export function runDiff(a: string, b: string, options: Options): void {
  const difference = diffImages(a, b, options.images);
  printResult(options.json ? `${JSON.stringify(difference, undefined, 2)}\n` : renderDifference(difference));
}
