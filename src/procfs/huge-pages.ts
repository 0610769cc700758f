/** The pools of huge pages: /sys/kernel/mm/hugepages, Documentation/admin-guide/mm/hugetlbpage.rst in the kernel. */
import { readFileSync } from 'node:fs';
import { refuseLack } from '../support/lacking.ts';

/** Pages of this size, in bytes, that a new mapping can reserve: free ones and those that the kernel may still make. 0 where it has no such pages. */
export function availableHugePages(pageBytes: number): number {
  const read = (name: string): number =>
    Number(readFileSync(`/sys/kernel/mm/hugepages/hugepages-${pageBytes / 1024}kB/${name}`, 'utf8'));
  try {
    const overcommit = read('nr_overcommit_hugepages') - read('surplus_hugepages');
    return read('free_hugepages') - read('resv_hugepages') + Math.max(overcommit, 0);
  } catch (error) {
    refuseLack(error, '/sys/kernel/mm/hugepages');
    return 0;
  }
}
