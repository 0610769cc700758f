/** The script of an export: read image -> plan -> write. Formats are listed in formats.ts. */
import type { FindImage } from '../image/image-folder.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { processesOf } from '../image/processes.ts';
import { type AddressedImage, openAddressed } from '../pages/addressed-image.ts';

export interface ExportSink {
  readonly write: (bytes: Uint8Array) => void;
  /** So many zeros, which a file need not hold. */
  readonly zeros: (length: number) => void;
}

export interface ExportFormat {
  readonly name: string;
  /** It holds one process, which the caller may choose. */
  readonly takesProcess: boolean;
  /** Writes the whole of it, or throws RefusedError with every reason before it has written anything. */
  readonly write: (image: AddressedImage, sink: ExportSink, pid: number) => ExportResult;
}

export interface ExportResult {
  /** Of a format that has records. */
  readonly records?: number;
  readonly pages: number;
  readonly sizeBytes: number;
  /** Sentences: what is not in it. */
  readonly losses: readonly string[];
}

export interface ExportSummary extends ExportResult {
  readonly pid: number;
}

export interface ExportOptions {
  /** Which one, for a format that holds one; the root of the tree by default. */
  readonly process?: number | undefined;
  /** Where the parents of an incremental image are. */
  readonly find?: FindImage | undefined;
}

export function exportImage(
  opened: OpenedInput,
  format: ExportFormat,
  sink: ExportSink,
  { process, find }: ExportOptions = {},
): ExportSummary {
  const image = openAddressed(opened, find);
  try {
    const [root] = processesOf(image.model);
    const pid = process ?? root.task.pid;
    return { pid, ...format.write(image, sink, pid) };
  } finally {
    image.close();
  }
}
