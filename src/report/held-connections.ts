/** Connections that a save has left silent for its restart: tables of nf_tables with our names, in this network namespace. */
import { listTables, removeTable } from '../netlink/nf-tables.ts';
import { isTableName } from '../resources/connection-keeper.ts';

/** None where this kernel has no nf_tables, or we may not look. */
export function listHeldConnections(): string[] {
  try {
    return listTables().filter(isTableName);
  } catch {
    return [];
  }
}

/** Lets them go: their other ends are answered by the kernel again, with a reset. The names of what was removed. */
export function letHeldConnectionsGo(): string[] {
  const tables = listTables().filter(isTableName);
  for (const table of tables) removeTable(table);
  return tables;
}
