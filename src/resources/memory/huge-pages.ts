/**
 * Private memory of huge pages: mmap(2) with MAP_PRIVATE, MAP_ANONYMOUS and MAP_HUGETLB, proc_pid_smaps(5) `KernelPageSize`. The kernel backs it by a
 * file without a name, `/anon_hugepage`, of which every mapping has its own. Shared ones are objects (files/shared-memory.ts).
 *
 * The pages are a scarce pool. A write to a page that fork(2) has left to two processes takes another one, and where the pool is empty the kernel takes the
 * page from the child, or ends the writer with SIGBUS if its mapping has reserved none: if it is a child itself, or with MAP_NORESERVE (hugetlb_wp() in the
 * kernel). So no snapshot is made of a process that has such memory.
 */
import * as v from 'valibot';
import { MAP } from '../../kernel/abi/mman.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { Problem } from '../../support/errors.ts';
import { HUGE_SIZES_KIB, hugeSizeFlag } from '../huge-page-size.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ pageKiB: v.picklist(HUGE_SIZES_KIB) });
type HugePages = v.InferOutput<typeof schema>;

const sizeOf = ({ kernelPageKiB }: Mapping): HugePages['pageKiB'] | undefined =>
  HUGE_SIZES_KIB.find((size) => size === kernelPageKiB);

export const hugePages: MappingKind<HugePages> = {
  kind: 'huge-pages',
  schema,
  recognise: (mapping) =>
    !mapping.shared &&
    mapping.deleted &&
    mapping.path === '/anon_hugepage' &&
    mapping.vmFlags.includes('ht') &&
    sizeOf(mapping) !== undefined,
  obstacles: (mapping) => readOnlyPart(mapping),
  pages: 'all-present',
  ownWords: ['ht'],
  isUnforkable: true,
  collect: (mapping) => ({ pageKiB: sizeOf(mapping) ?? 2048 }),
  mapping: ({ pageKiB }) => ({
    flags: MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_HUGETLB | hugeSizeFlag(pageKiB),
    file: 0,
    name: '',
    hugePageBytes: pageKiB * 1024,
  }),
};

/** The file behind it is made as long as a mapping that may be written needs it (hugetlbfs_file_mmap() in the kernel); what lies behind its end is SIGBUS. */
function readOnlyPart({ offset, write }: Mapping): Problem[] {
  if (write || Number(offset) === 0) return [];
  return [
    {
      code: 'mapping-flag',
      path: [],
      message: 'It is a read-only part of a larger mapping of huge pages, which cannot be saved yet.',
      remedy: 'Save it when the program has made it writable or unmapped it.',
    },
  ];
}
