/** Reads the records of an image to look at them; where that is wanted also those of one whose end is missing. */
import { ImageError } from '../support/errors.ts';
import { type CutModel, type ImageModel, ModelBuilder } from './model.ts';
import type { MissingPart } from './process-model.ts';
import type { ChunkRecord, ImageReader } from './reader.ts';
import type { Timeline } from './timeline.ts';

export interface LookThroughOptions {
  /** Of an image that was cut, or whose save failed on the way: what comes before that. Default: it is refused. */
  readonly showsCut?: boolean | undefined;
}

/** Where an image stops, and why. */
export interface Cut {
  readonly error: ImageError;
  /** By pid: what there is not of a process. */
  readonly missing: ReadonlyMap<number, readonly MissingPart[]>;
}

export interface LookedThrough {
  /** Without a root only if it was cut before its first process. */
  readonly model: Omit<ImageModel, 'root'> & Partial<Pick<ImageModel, 'root'>>;
  readonly cut?: Cut;
  readonly imageBytes: number;
  readonly records: number;
  readonly timeline: Timeline | undefined;
}

/** Throws ImageError for what is no image, or a damaged one. */
export function lookThrough(
  reader: ImageReader,
  onChunk: (chunk: ChunkRecord) => void,
  { showsCut = false }: LookThroughOptions = {},
): LookedThrough {
  const builder = new ModelBuilder();
  try {
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (record.kind === 'metadata') builder.add(record);
      else {
        builder.addChunk(record);
        onChunk(record);
      }
    }
  } catch (error) {
    if (!(showsCut && isCut(error) && builder.hasHead)) throw error;
    const { missing, ...model } = builder.finishCut();
    builder.finishPages();
    return { ...read(reader, model, reader.recordCount), cut: { error, missing } };
  }
  const model = builder.finish();
  builder.finishPages();
  return read(reader, model, reader.recordCount + 1);
}

const read = (
  { position: imageBytes, timeline }: ImageReader,
  model: Omit<CutModel, 'missing'>,
  records: number,
): LookedThrough => {
  const [root] = model.processes;
  return { model: { ...model, ...(root === undefined ? {} : { root }) }, imageBytes, records, timeline };
};

export const isCut = (error: unknown): error is ImageError =>
  error instanceof ImageError && ['cut-image', 'checkpoint-failed'].includes(error.code);
