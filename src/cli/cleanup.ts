/** `quicksave cleanup` */
import { letHeldConnectionsGo } from '../report/held-connections.ts';
import { printResult } from './print-result.ts';

export function runCleanup(): void {
  const removed = letHeldConnectionsGo();
  const lines = removed.map((table) => `removed ${table}: the connections of that save are silent no more\n`);
  printResult(lines.length === 0 ? 'nothing is left of any save\n' : lines.join(''));
}
