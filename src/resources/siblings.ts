/** The other descriptions of a view that are of the same object, by the text of the link: looked up, where there are thousands. */
import type { DescriptorView } from './resource.ts';

interface Index {
  readonly count: number;
  readonly byTarget: ReadonlyMap<string, readonly DescriptorView[]>;
}

const indexes = new WeakMap<readonly DescriptorView[], Index>();

export function siblingsOfTarget({ siblings, descriptor }: DescriptorView): readonly DescriptorView[] {
  let index = indexes.get(siblings);
  if (index?.count !== siblings.length) {
    const byTarget = new Map<string, DescriptorView[]>();
    for (const sibling of siblings) {
      const known = byTarget.get(sibling.descriptor.target);
      if (known === undefined) byTarget.set(sibling.descriptor.target, [sibling]);
      else known.push(sibling);
    }
    index = { count: siblings.length, byTarget };
    indexes.set(siblings, index);
  }
  return index.byTarget.get(descriptor.target) ?? [];
}
