/** What `--compress` takes. */
import { type Compression, ORDINARY_LEVEL } from '../checkpoint/compression-choice.ts';
import { UsageError } from './usage-error.ts';

export function parseCompression(text: string | true): Compression {
  if (text === true || text === 'zstd') return ORDINARY_LEVEL;
  if (text === 'auto') return text;
  if (text === 'none') return undefined;
  const level = /^zstd:(\d{1,2})$/.exec(text)?.[1];
  if (level === undefined || Number(level) < 1 || Number(level) > 19) {
    throw new UsageError(`--compress takes auto, none, zstd or zstd:LEVEL (1 to 19), not "${text}".`);
  }
  return Number(level);
}
