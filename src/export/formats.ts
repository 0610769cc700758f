/** The formats that images can be exported to. */
import type { ExportFormat } from './export.ts';
import { linuxCrV8 } from './linux-cr.ts';

export const exportFormats: readonly ExportFormat[] = [linuxCrV8];
