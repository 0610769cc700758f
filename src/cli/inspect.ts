/** `quicksave inspect IMAGE [--json]` */
import { openInput } from '../image/image-source.ts';
import { inspectInput } from '../report/inspect.ts';
import { renderInspection } from '../report/render-inspection.ts';
import { printResult } from './print-result.ts';

interface Options {
  readonly json?: boolean;
}

export function runInspect(image: string, options: Options): void {
  const input = openInput(image);
  try {
    const inspection = inspectInput(input);
    printResult(options.json ? `${JSON.stringify(inspection, undefined, 2)}\n` : renderInspection(inspection));
  } finally {
    input.close();
  }
}
