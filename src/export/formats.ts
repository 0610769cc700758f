/** The formats that images can be exported to. */
import { core } from './core.ts';
import type { ExportFormat } from './export.ts';
import { linuxCrV8 } from './linux-cr.ts';

export const exportFormats: readonly ExportFormat[] = [linuxCrV8, core];
