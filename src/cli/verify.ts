/** `quicksave verify IMAGE` */

import { readAccess } from '../image/protection.ts';
import { keyName } from '../image/signature.ts';
import { intactOf } from '../library/look.ts';
import { counted, printable, sizeText } from '../report/table.ts';
import { type Verification, verifyImageAt } from '../report/verify.ts';
import { coloured } from './colour.ts';
import { asJson, printResult } from './print-result.ts';

const STANDARD_OUTPUT = 1;

interface Options {
  readonly images?: string;
  readonly key?: readonly string[];
  readonly verifyKey?: string;
  readonly json?: boolean;
}

export function runVerify(image: string, { images, key: keys, verifyKey, json }: Options): void {
  const verification = verifyImageAt(image, { images, access: readAccess({ keys, verifyKey }) });
  printResult(
    json ? asJson(intactOf(verification)) : paintedVerdict(verdictText(verification, verifyKey !== undefined)),
  );
}

/** What comes before the colon. */
const paintedVerdict = (text: string): string =>
  text.replace(/^[^:]+/, (verdict) => coloured(STANDARD_OUTPUT, 'green', verdict));

function verdictText(verification: Verification, isChecked: boolean): string {
  const { model, imageBytes, records, dataPages, zeroPages, parentPages, relativePages } = verification;
  const { processes, root, head } = model;
  const threads = processes.reduce((sum, { task }) => sum + task.threads.length, 0);
  const others = processes.length === 1 ? '' : ` and ${counted(processes.length - 1, 'descendant')}`;
  const zero = zeroPages === 0 ? '' : ` and ${zeroPages} zero ones`;
  const inherited = parentPages === 0 ? '' : ` and ${parentPages} of its parent`;
  const shared = relativePages === 0 ? '' : ` and ${relativePages} of relatives`;
  const pages = `${counted(dataPages, 'page')}${zero}${inherited}${shared}`;
  // Without checksums nobody can say that not a byte of a page has changed.
  const verdict = model.origin === undefined ? 'intact' : `complete, as far as ${model.origin.format} tells`;
  const made = `saved by ${head.state.tool} on Linux ${head.state.kernel.release}`;
  const protection = protectionText(verification, isChecked);
  return printable(
    `${verdict}: process ${root.task.pid} (${root.task.comm})${others}, ${counted(threads, 'thread')}, ` +
      `${counted(records, 'record')}, ${pages}, ${sizeText(imageBytes)}, ${made}${protection}`,
  ).concat('\n');
}

function protectionText({ isEncrypted, signature }: Verification, isChecked: boolean): string {
  const encrypted = isEncrypted ? ', encrypted' : '';
  if (signature === undefined) return encrypted;
  const worth = isChecked ? '' : ' (not checked: --verify-key)';
  return `${encrypted}, signed with key ${keyName(signature.publicKey)}${worth}`;
}
