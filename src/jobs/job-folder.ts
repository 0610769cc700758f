/**
 * The folder of a job: its records, its saves, and the lock of whoever takes care of it. Every file appears complete under its
 * name or not at all, and is on disk when the call returns; of the history a last line that was cut is passed over.
 *
 *     job.json  state.json  history.jsonl  lock  saves/RUN-NUMBER.qs  output.log (where standard output can be no stream)
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { tryLockFile } from '../kernel/calls/locks.ts';
import { localFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { expendable, type Save } from './increments.ts';
import { HistoryRecord, JobRecord, StateRecord } from './job-records.ts';

export interface SaveFile extends Save {
  /** `000002-000015.qs`, or `000002-000015+000012.qs` of one that builds on another of its start */
  readonly name: string;
  readonly path: string;
  readonly savedAt: number;
}

const PRIVATE_FOLDER = 0o700;
const PRIVATE = 0o600;
const SAVE_NAME = /^(\d{6,})-(\d{6,})(?:\+(\d{6,}))?\.qs$/;
const DAMAGED = '.damaged';
/** Of a history that is longer only the newer half is kept. */
const MAX_HISTORY_BYTES = 1024 * 1024;

export class JobFolder {
  readonly path: string;
  readonly saveFolder: string;

  constructor(path: string) {
    this.path = path;
    this.saveFolder = join(path, 'saves');
  }

  get exists(): boolean {
    return existsSync(join(this.path, 'job.json'));
  }

  make(): void {
    try {
      mkdirSync(this.saveFolder, { recursive: true, mode: PRIVATE_FOLDER });
    } catch (cause) {
      throw cannotWrite(this.path, cause);
    }
  }

  job(): JobRecord | undefined {
    return this.#read('job.json', JobRecord);
  }

  state(): StateRecord | undefined {
    return this.#read('state.json', StateRecord);
  }

  writeJob(job: JobRecord): void {
    this.#write('job.json', `${JSON.stringify(job, undefined, 2)}\n`);
  }

  writeState(state: StateRecord): void {
    this.#write('state.json', `${JSON.stringify(state, undefined, 2)}\n`);
  }

  note(event: HistoryRecord): void {
    const fd = openSync(join(this.path, 'history.jsonl'), 'a', PRIVATE);
    try {
      // A line that was cut by a crash must not take this one with it.
      writeFileSync(fd, `${this.#lastLineIsCut() ? '\n' : ''}${JSON.stringify(event)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  history(): HistoryRecord[] {
    return this.#historyText()
      .split('\n')
      .flatMap((line) => {
        const parsed = v.safeParse(HistoryRecord, tryJson(line));
        return parsed.success ? [parsed.output] : [];
      });
  }

  #historyText(): string {
    const path = join(this.path, 'history.jsonl');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  #lastLineIsCut(): boolean {
    const text = this.#historyText();
    return text !== '' && !text.endsWith('\n');
  }

  /** Complete saves, oldest first. */
  saves(): SaveFile[] {
    if (!existsSync(this.saveFolder)) return [];
    return readdirSync(this.saveFolder)
      .flatMap((name) => this.#saveFile(name))
      .sort((a, b) => a.run - b.run || a.number - b.number);
  }

  #saveFile(name: string): SaveFile[] {
    const [, run, number, base] = SAVE_NAME.exec(name) ?? [];
    if (run === undefined || number === undefined) return [];
    const path = join(this.saveFolder, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    const numbers = { run: Number(run), number: Number(number), ...(base === undefined ? {} : { base: Number(base) }) };
    return [{ name, path, ...numbers, sizeBytes: stat.size, savedAt: stat.mtimeMs }];
  }

  /** `base`: number of the save of this run that it builds on. */
  savePath(run: number, number: number, base?: number): string {
    const [first, second, third] = [run, number, base ?? 0].map((one) => String(one).padStart(6, '0'));
    return join(this.saveFolder, `${first}-${second}${base === undefined ? '' : `+${third}`}.qs`);
  }

  /** A save that cannot be used stays for whoever wants to look at it, under another name. */
  setAside(save: SaveFile): void {
    renameSync(save.path, `${save.path}${DAMAGED}`);
  }

  /** Removes all saves but the newest `keep` and those that they need, and of those set aside what is older than all. */
  retain(keep: number): void {
    for (const { path } of expendable(this.saves(), keep)) rmSync(path, { force: true });
    const oldest = this.saves()[0]?.name ?? '';
    for (const name of readdirSync(this.saveFolder)) {
      if (name.endsWith(DAMAGED) && name < oldest) rmSync(join(this.saveFolder, name), { force: true });
    }
  }

  /** What a killed save or a crash has left half-written, and the older half of a long history. */
  tidy(): void {
    for (const folder of [this.path, this.saveFolder]) {
      for (const name of readdirSync(folder)) {
        if (name.endsWith('.partial')) rmSync(join(folder, name), { force: true });
      }
    }
    const history = this.#historyText();
    if (history.length > MAX_HISTORY_BYTES) {
      this.#write('history.jsonl', history.slice(history.indexOf('\n', history.length / 2) + 1));
    }
  }

  /** The lock goes with the process that holds it, however that ends. Undefined if somebody else holds it. */
  tryLock(exclusive: boolean): { release: () => void } | undefined {
    const path = join(this.path, 'lock');
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, PRIVATE);
    if (tryLockFile(localFd(fd), exclusive, path)) return { release: () => closeSync(fd) };
    closeSync(fd);
    return undefined;
  }

  #read<Schema extends v.GenericSchema>(name: string, schema: Schema): v.InferOutput<Schema> | undefined {
    const path = join(this.path, name);
    if (!existsSync(path)) return undefined;
    const parsed = v.safeParse(schema, tryJson(readFileSync(path, 'utf8')));
    if (parsed.success) return parsed.output;
    throw new QuicksaveError('bad-job-folder', `${path} is not what quicksave run writes.`, {
      remedy: 'Give another folder with --dir, or restart one of its saves by hand.',
    });
  }

  #write(name: string, text: string): void {
    const partial = join(this.path, `.${name}.partial`);
    try {
      const fd = openSync(partial, 'w', PRIVATE);
      try {
        writeFileSync(fd, text);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(partial, join(this.path, name));
      syncFolder(this.path);
    } catch (cause) {
      throw cannotWrite(this.path, cause);
    }
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function cannotWrite(path: string, cause: unknown): QuicksaveError {
  const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
  return new QuicksaveError('cannot-write', `The folder ${path} cannot be written to (${code}).`, { cause });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
