/**
 * Two hosts, as far as a network and process numbers go: `near` has a network namespace of its own, `far` one and a pid namespace with an
 * sshd in it, and a cable (veth(4)) is between them. They have their files in common.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { childrenOf, has, waitFor } from './harness.ts';

const SSHD = '/usr/sbin/sshd';
const NEAR = '10.211.37.1';
const FAR = '10.211.37.2';

export const hasTwoHosts =
  existsSync(SSHD) && ['ssh', 'ip', 'unshare', 'nsenter'].every(has) && process.getuid?.() === 0;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TwoHosts {
  /** Arguments in front of a program that is to run at the near host: of a program `nsenter`. */
  readonly atNear: readonly string[];
  /** Runs a line of bash at the near host, where `ssh far` leads to the other. */
  readonly run: (line: string, env?: Record<string, string>) => { pid: number; done: Promise<Finished> };
  /** The network namespaces, as links of /proc say them. */
  readonly networks: { readonly near: string; readonly far: string };
  /** Ends all connections that the far host has. */
  readonly cut: () => void;
  readonly stop: () => Promise<void>;
}

/**
 * `ssh` at the near host obeys two variables: with HOLD_INPUT=N it passes on N bytes, and the rest only when there is a file $RELEASE; with
 * HOLD_OUTPUT=N it does so with what comes back.
 */
const sshProgram = (ssh: string, config: string): string => `#!/bin/bash
held() { dd bs=64K count="$1" iflag=count_bytes status=none; until [ -e "$RELEASE" ]; do sleep 0.01; done; cat; }
if [ -n "$HOLD_INPUT" ]; then held "$HOLD_INPUT" | ${ssh} -F ${config} "$@"
elif [ -n "$HOLD_OUTPUT" ]; then ${ssh} -F ${config} "$@" | held "$HOLD_OUTPUT"; exit "\${PIPESTATUS[0]}"
else exec ${ssh} -F ${config} "$@"; fi
`;

const serverConfig = (folder: string): string => `
ListenAddress ${FAR}
HostKey ${folder}/host-key
AuthorizedKeysFile ${folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
SetEnv PATH=${process.env['PATH'] ?? ''}
`;

const clientConfig = (folder: string): string => `
Host far stranger
  HostName ${FAR}
  HostKeyAlias far
  User root
  UserKnownHostsFile ${folder}/known-hosts
Host far
  IdentityFile ${folder}/key
Host stranger
  IdentityFile ${folder}/host-key
Host *
  BatchMode yes
  IdentitiesOnly yes
  IdentityAgent none
`;

export async function makeTwoHosts(): Promise<TwoHosts> {
  const folder = mkdtempSync('/dev/shm/quicksave-test-');
  for (const name of ['key', 'host-key']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
  }
  writeFileSync(join(folder, 'known-hosts'), `far ${readFileSync(join(folder, 'host-key.pub'), 'utf8')}`);
  writeFileSync(join(folder, 'sshd-config'), serverConfig(folder));
  writeFileSync(join(folder, 'ssh-config'), clientConfig(folder));
  const real = execFileSync('bash', ['-c', 'command -v ssh'], { encoding: 'utf8' }).trim();
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin', 'ssh'), sshProgram(real, join(folder, 'ssh-config')));
  chmodSync(join(folder, 'bin', 'ssh'), 0o755);
  // Where sshd goes without privileges, as its Debian package has it made at boot.
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const near = await holder(['--net', 'sleep', 'infinity']);
  const sshd = `read && exec ${SSHD} -D -e -f ${folder}/sshd-config`;
  const far = await holder(['--net', '--pid', '--fork', '--mount-proc', '--kill-child', 'bash', '-c', sshd]);
  const atNear = ['--target', String(near.pid), '--net', '--'];
  const ip = (pid: number | undefined, ...args: string[]): void =>
    void execFileSync('nsenter', ['--target', String(pid), '--net', '--', 'ip', ...args]);
  ip(near.pid, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', String(far.pid));
  for (const [{ pid }, address] of [
    [near, NEAR],
    [far, FAR],
  ] as const) {
    ip(pid, 'address', 'add', `${address}/30`, 'dev', 'cable');
    for (const device of ['lo', 'cable']) ip(pid, 'link', 'set', device, 'up');
  }
  let said = '';
  far.stderr?.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  far.stdin?.write('\n');
  await waitFor('sshd', () => said.includes('Server listening'));
  return {
    atNear,
    run: (line, env = {}) => runLine(atNear, line, { ...env, PATH: `${folder}/bin:${process.env['PATH'] ?? ''}` }),
    networks: { near: networkOf(near.pid), far: networkOf(far.pid) },
    cut: () => {
      const [server = 0] = childrenOf(far.pid ?? 0);
      for (const session of childrenOf(server)) process.kill(session, 'SIGKILL');
    },
    stop: async () => {
      for (const child of [near, far]) {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGKILL');
        await ended;
      }
      rmSync(folder, { recursive: true });
    },
  };
}

const networkOf = (pid: number | string | undefined): string => readlinkSync(`/proc/${pid}/ns/net`);

/** unshare(1) that has got as far as to have namespaces of its own. */
async function holder(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn('unshare', args, { stdio: ['pipe', 'ignore', 'pipe'], detached: true });
  await waitFor('a network namespace', () => networkOf(child.pid) !== networkOf('self'));
  return child;
}

function runLine(
  atNear: readonly string[],
  line: string,
  env: Record<string, string>,
): { pid: number; done: Promise<Finished> } {
  const child = spawn('nsenter', [...atNear, 'bash', '-c', line], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const done = new Promise<Finished>((resolve) => {
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
  return { pid: child.pid ?? 0, done };
}
