/** What goes wrong with ssh(1) and at the host behind it, as a sentence with a remedy. */
import type { HostAddress } from '../support/address.ts';
import { QuicksaveError } from '../support/errors.ts';
import { SCRIPT_EXIT } from './ssh-scripts.ts';

/** How ssh has ended. */
export interface Ended {
  /** Undefined: it was killed, or could not be started. */
  readonly status: number | undefined;
  /** The end of what came on its standard error. */
  readonly said: string;
  readonly signal?: NodeJS.Signals | null;
}

/** Of ssh(1) itself. */
const SSH_FAILED = 255;

/** `isReady`: the other end had taken the image, or given the first of it. */
export function sshError(ended: Ended, address: HostAddress, isReady: boolean): QuicksaveError {
  const { status, said, signal } = ended;
  if (status === undefined && said === 'ENOENT') {
    return new QuicksaveError('remote-unreachable', `There is no program ssh here for ${address.text}.`, {
      remedy: 'Install the OpenSSH client (Debian: openssh-client).',
    });
  }
  if (status === undefined || status === SSH_FAILED) return connectionError(ended, address, isReady);
  return scriptError(status, lastLine(said) ?? signal ?? 'it says nothing', address);
}

function connectionError({ said, signal }: Ended, { text, host }: HostAddress, isReady: boolean): QuicksaveError {
  const why = lastLine(said) ?? (signal ? `ssh was ended by ${signal}` : 'ssh says nothing');
  if (/Permission denied|Host key verification failed|Too many authentication failures/.test(said)) {
    return new QuicksaveError('remote-denied', `${host} does not let you in for ${text}: ${why}.`, {
      remedy: `Look whether this works: ssh ${host} true`,
    });
  }
  if (/^Killed by signal/m.test(said))
    return new QuicksaveError('interrupted', `What went to ${host} was interrupted.`);
  if (isReady) return new QuicksaveError('connection-lost', `The connection to ${host} for ${text} broke off: ${why}.`);
  return new QuicksaveError('remote-unreachable', `${host} cannot be reached for ${text}: ${why}.`, {
    remedy: `Look whether this works: ssh ${host} true`,
  });
}

function scriptError(status: number, why: string, { text, host, path }: HostAddress): QuicksaveError {
  switch (status) {
    case SCRIPT_EXIT.noFolder:
      return new QuicksaveError('no-folder', `The folder of ${path} does not exist on ${host}.`, {
        remedy: 'Make it there first.',
      });
    case SCRIPT_EXIT.notAFile:
      return new QuicksaveError('cannot-write', `${path} on ${host} is there already, and is no file.`, {
        remedy: 'Give the name of a file.',
      });
    case SCRIPT_EXIT.cannotWrite:
      return new QuicksaveError('cannot-write', `${path} cannot be written on ${host}: ${why}.`);
    case SCRIPT_EXIT.missing:
      return new QuicksaveError('remote-missing', `There is no file ${path} on ${host}.`);
    case SCRIPT_EXIT.unreadable:
      return new QuicksaveError('cannot-read', `The file ${path} on ${host} may not be read.`);
    default:
      return new QuicksaveError('remote-failed', `${host} failed with ${text}: ${why} (status ${status}).`);
  }
}

/** Without the dot at the end, if there is one. */
const lastLine = (said: string): string | undefined =>
  said.trim().split('\n').at(-1)?.trim().replace(/\.$/, '') || undefined;
