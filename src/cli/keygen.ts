/** `quicksave keygen FILE [--recipient|--signing]` */
import { closeSync, fsyncSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { type KeyKind, newKey } from '../image/key-files.ts';
import { QuicksaveError } from '../support/errors.ts';
import { printLine } from './print-error.ts';
import { UsageError } from './usage-error.ts';

interface Options {
  readonly recipient?: boolean;
  readonly signing?: boolean;
}

const PRIVATE = 0o600;
const PUBLIC = 0o644;

export function runKeygen(file: string, { recipient = false, signing = false }: Options): void {
  if (recipient && signing) throw new UsageError('give one of --recipient and --signing.');
  const kind: KeyKind = recipient ? 'recipient' : signing ? 'signing' : 'secret';
  const { secret, public: publicKey } = newKey(kind);
  writeNew(file, secret, PRIVATE);
  if (publicKey === undefined) {
    printLine(`wrote ${file}: whoever has it can open what is encrypted with it`);
    return;
  }
  try {
    writeNew(`${file}.pub`, publicKey, PUBLIC);
  } catch (error) {
    // A private key without its public one is of no use, and would be in the way of the next attempt.
    rmSync(file, { force: true });
    throw error;
  }
  printLine(`wrote ${file}, which is private, and ${file}.pub`);
}

/** A key that is there already is never replaced: what it has encrypted would be lost. */
function writeNew(path: string, text: string, mode: number): void {
  try {
    const fd = openSync(path, 'wx', mode);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'it is there already' : code;
    throw new QuicksaveError('cannot-write', `The key file ${path} cannot be written: ${why}.`, { cause });
  }
}
