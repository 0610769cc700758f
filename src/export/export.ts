/** The script of an export: read image -> plan -> write. Formats are listed in formats.ts. */
import type { OpenedInput } from '../image/image-source.ts';
import { type ExportedImage, openForExport } from './open-for-export.ts';

export interface ExportFormat {
  readonly name: string;
  /** Writes the whole of it, or throws RefusedError with every reason before it has written anything. */
  readonly write: (image: ExportedImage, write: (bytes: Uint8Array) => void) => ExportResult;
}

export interface ExportResult {
  readonly records: number;
  readonly pages: number;
  readonly sizeBytes: number;
  /** Sentences: what is not in it. */
  readonly losses: readonly string[];
}

export interface ExportSummary extends ExportResult {
  readonly pid: number;
}

export function exportImage(
  opened: OpenedInput,
  format: ExportFormat,
  write: (bytes: Uint8Array) => void,
): ExportSummary {
  const image = openForExport(opened);
  try {
    return { pid: image.model.root.task.pid, ...format.write(image, write) };
  } finally {
    image.close();
  }
}
