/** `quicksave verify IMAGE` */

import { counted, printable, sizeText } from '../report/table.ts';
import { verifyImageAt } from '../report/verify.ts';
import { printResult } from './print-result.ts';

export function runVerify(image: string): void {
  const { model, imageBytes, records, dataPages, zeroPages } = verifyImageAt(image);
  const { processes, root, head } = model;
  const threads = processes.reduce((sum, { task }) => sum + task.threads.length, 0);
  const others = processes.length === 1 ? '' : ` and ${counted(processes.length - 1, 'descendant')}`;
  const pages = `${counted(dataPages, 'page')}${zeroPages === 0 ? '' : ` and ${zeroPages} zero ones`}`;
  // Without checksums nobody can say that not a byte of a page has changed.
  const verdict = model.origin === undefined ? 'intact' : `complete, as far as ${model.origin.format} tells`;
  const made = `saved by ${head.state.tool} on Linux ${head.state.kernel.release}`;
  printResult(
    printable(
      `${verdict}: process ${root.task.pid} (${root.task.comm})${others}, ${counted(threads, 'thread')}, ` +
        `${counted(records, 'record')}, ${pages}, ${sizeText(imageBytes)}, ${made}`,
    ).concat('\n'),
  );
}
