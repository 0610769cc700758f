/** `quicksave verify IMAGE` */

import { counted, printable, sizeText } from '../report/table.ts';
import { verifyImageAt } from '../report/verify.ts';
import { printResult } from './print-result.ts';

export function runVerify(image: string): void {
  const { model, imageBytes, records, dataPages, zeroPages } = verifyImageAt(image);
  const { task, head } = model;
  const pages = `${counted(dataPages, 'page')}${zeroPages === 0 ? '' : ` and ${zeroPages} zero ones`}`;
  const made = `saved by ${head.state.tool} on Linux ${head.state.kernel.release}`;
  printResult(
    printable(
      `intact: process ${task.pid} (${task.comm}), ${counted(task.threads.length, 'thread')}, ` +
        `${counted(records, 'record')}, ${pages}, ${sizeText(imageBytes)}, ${made}`,
    ).concat('\n'),
  );
}
