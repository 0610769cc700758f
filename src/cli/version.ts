/** `quicksave version [--json]` */
import { machine, release } from 'node:os';
import { FORMAT_VERSION } from '../image/head.ts';
import { VERSION } from '../support/version.ts';
import { printResult } from './print-result.ts';

export function runVersion({ json }: { readonly json?: boolean }): void {
  const facts = {
    name: 'quicksave',
    version: VERSION,
    imageFormatVersion: FORMAT_VERSION,
    node: process.versions.node,
    kernel: release(),
    machine: machine(),
  };
  printResult(json ? `${JSON.stringify(facts, undefined, 2)}\n` : `${VERSION}\n`);
}
