/**
 * The processes of an image, each with what belongs to it. Whoever looks at an image (report/, export/) asks here and nowhere
 * else how the model keeps them.
 */
import type { ImageModel } from './model.ts';
import type { ProcessModel, ThreadModel } from './process-model.ts';
import type { FilesRecord, MappingState, MemoryRecord, TaskRecord } from './tree.ts';

export interface ProcessParts {
  readonly task: TaskRecord;
  /** In the image or not; undefined where the image does not say. */
  readonly parent?: number;
  readonly aspects: Readonly<Record<string, unknown>>;
  readonly threads: readonly ThreadModel[];
  readonly descriptors: FilesRecord['entries'];
  /** Threads with something that is not their leader's. */
  readonly apart: ProcessModel['apart'];
  readonly memory: MemoryRecord;
  /** Object that its pages have in page chunks: what processes with the same one share. */
  readonly memoryObject: number;
  readonly mappings: readonly MappingState[];
  readonly memoryContext?: Buffer;
}

/** The root of the tree first. */
export function processesOf({ processes, root }: ImageModel): readonly [ProcessParts, ...ProcessParts[]] {
  const others = processes.filter((process) => process !== root);
  return [partsOf(root), ...others.map(partsOf)];
}

export function partsOf({
  task,
  aspects,
  threads,
  files,
  apart,
  memory,
  mappings,
  memoryContext,
}: ProcessModel): ProcessParts {
  return {
    task,
    ...(task.parent === undefined ? {} : { parent: task.parent }),
    aspects,
    threads,
    descriptors: files.entries,
    apart,
    memory,
    memoryObject: task.memory,
    mappings,
    ...(memoryContext === undefined ? {} : { memoryContext }),
  };
}
