/** Of several open file descriptions of one object, one carries what belongs to the object: the first of the tree. */
import type { DescriptorView } from './resource.ts';
import { isSegmentName } from './segment-names.ts';

/** True if no description before this one satisfies `isSo`, and this one does. */
export function isFirstOf(view: DescriptorView, isSo: (other: DescriptorView) => boolean): boolean {
  const first = view.siblings.find(isSo);
  return first?.pid === view.pid && first.fd === view.fd;
}

/** The first description of its file, which no System V segment is, whatever its inode number. */
export const isFirstOfFile = (view: DescriptorView): boolean =>
  isFirstOf(
    view,
    ({ stat, descriptor }) =>
      stat.inode === view.stat.inode && stat.device === view.stat.device && !isSegmentName(descriptor.name),
  );
