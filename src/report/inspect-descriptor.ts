/** The descriptors of an image, and the open file descriptions behind them. */
import type { ImageModel } from '../image/model.ts';
import type { DescriptionRecord, FilesRecord } from '../image/tree.ts';
import { at, type Json, numberAt, textAt, toJson } from './json.ts';
import { openFlagNames } from './names.ts';

export interface DescriptorInspection {
  readonly fd: number;
  readonly closeOnExec: boolean;
  /** Descriptors with the same object share one open file description. */
  readonly object: number;
  readonly kind: string;
  readonly path?: string;
  readonly position?: number;
  readonly flags?: readonly string[];
  /** Bytes of the object that the image carries. */
  readonly contentBytes: number;
  readonly state: Json;
}

export const describeTable = (
  entries: FilesRecord['entries'],
  { descriptions }: Pick<ImageModel, 'descriptions'>,
): DescriptorInspection[] => entries.map((entry) => describeDescriptor(entry, descriptions.get(entry.object)));

function describeDescriptor(
  entry: FilesRecord['entries'][number],
  description: DescriptionRecord | undefined,
): DescriptorInspection {
  const state = toJson(description?.state);
  const position = numberAt(state, 'position');
  const flags = at(state, 'flags');
  return {
    fd: entry.fd,
    closeOnExec: entry.closeOnExec,
    object: entry.object,
    kind: description?.kind ?? 'unknown',
    ...pathOf(state),
    ...(position === undefined ? {} : { position }),
    ...(typeof flags === 'number' && Number.isSafeInteger(flags) && flags >= 0 ? { flags: openFlagNames(flags) } : {}),
    contentBytes: description?.contentBytes ?? 0,
    state,
  };
}

/** Kinds keep the name of what they stand for as `path`, as `file.path`, or in words as `was`. */
export function pathOf(state: Json): { path?: string } {
  const path = textAt(state, 'path') ?? textAt(state, 'file', 'path') ?? textAt(state, 'was');
  return path === undefined ? {} : { path };
}
