/** Pseudo-terminals of our own: what the kinds say of them, and what is made again from that. */
import { openSync, readlinkSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { IOCTL } from '../../../src/kernel/abi/ioctl.ts';
import { askTerminal, openPeer, terminalSettings, windowSize } from '../../../src/kernel/calls/pseudo-terminals.ts';
import { OwnedFd } from '../../../src/kernel/owned-fd.ts';
import { ConnectionKeeper, RestoredConnections } from '../../../src/resources/connection-keeper.ts';
import { slavePath, terminal } from '../../../src/resources/pseudo-terminals.ts';
import type { DescriptorView, RestoredDescriptors } from '../../../src/resources/resource.ts';
import { ptyMaster } from '../../../src/resources/terminals/pty-master.ts';
import { ptySlave } from '../../../src/resources/terminals/pty-slave.ts';
import { asPid, localFd, remoteFd } from '../../../src/support/brand.ts';
import { descriptorStates } from './samples.ts';
import { descriptorView, looks } from './views.ts';

const opened: OwnedFd[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) fd.close();
});

function newMaster(): OwnedFd {
  const master = new OwnedFd(openSync('/dev/ptmx', 'r+'));
  opened.push(master);
  return master;
}

const indexOf = (master: OwnedFd): number => askTerminal(master.number, IOCTL.TIOCGPTN, 'number');

function newWorld(): RestoredDescriptors {
  const shared = new Map<string, unknown>();
  return {
    shared: <T>(key: string, make: () => T): T => {
      if (!shared.has(key)) {
        const made = make();
        shared.set(key, made);
        opened.push(...Object.values(made as Record<string, OwnedFd>));
      }
      return shared.get(key) as T;
    },
    object: localFd,
    standardStream: (number) => localFd(number),
    process: () => undefined,
    root: () => {
      throw new Error('no process is restarted here');
    },
    onFailure: () => {
      // Nothing of it outlives us.
    },
    connections: new RestoredConnections(),
  };
}

const where = ['pid 4242', 'fd 5'];
const state = (index: number) => ({ ...descriptorStates['pty-master'], index, session: 0, foreground: 0 }) as never;

describe('the master of a pseudo-terminal', () => {
  it('is refused at the restart while its number is taken, with who has it', () => {
    const master = newMaster();
    const index = indexOf(master);
    expect(ptyMaster.plan?.(state(index), {} as never, where)).toMatchObject([{ code: 'terminal-taken', path: where }]);
    master.close();
    expect(ptyMaster.plan?.(state(index), {} as never, where)).toEqual([]);
  });

  it('gets its number although lower ones are free, and nothing else stays open', () => {
    const [low, high] = [newMaster(), newMaster()];
    const index = indexOf(high);
    low.close();
    high.close();
    const { master } = terminal(newWorld(), index);
    expect(indexOf(master)).toBe(index);
    const again = newMaster();
    expect(indexOf(again)).toBeLessThan(index);
  });

  it('does not get the number of somebody else', () => {
    const index = indexOf(newMaster());
    expect(() => terminal(newWorld(), index)).toThrow(`The terminal ${slavePath(index)} is in use`);
  });

  it('that is open for one direction only is refused', () => {
    expect(ptyMaster.obstacles?.(descriptorView({ ...looks.master, flags: 0 }))).toMatchObject([{ code: 'terminal' }]);
    expect(ptyMaster.obstacles?.(descriptorView(looks.master))).toEqual([]);
  });

  it('comes back with its settings, size and modes', () => {
    const free = newMaster();
    const index = indexOf(free);
    free.close();
    const world = newWorld();
    const settings = Buffer.from(terminalSettings(newMaster().number));
    opened.pop()?.close();
    settings[17] = 9;
    const saved = { ...descriptorStates['pty-master'], index, settings, packets: true, locked: true, exclusive: true };
    const made = ptyMaster.restore({ ...saved, session: 0, foreground: 0 }, world);
    opened.push(made);
    ptyMaster.settle?.({ ...saved, session: 0, foreground: 0 }, made.number, world);
    const view: DescriptorView = {
      ...descriptorView(looks.master),
      pid: asPid(process.pid),
      fd: remoteFd(made.number),
    };
    expect(
      ptyMaster.collect({
        ...view,
        own: made.number,
        connections: new ConnectionKeeper('refuse', false),
        objectInFlight: () => 0,
      }),
    ).toMatchObject({
      index,
      settings,
      size: saved.size,
      packets: true,
      locked: true,
      exclusive: true,
      hungUp: true,
      session: 0,
    });
    expect(() => openPeer(made.number, 2)).toThrow(/EIO/);
  });
});

describe('the slave of a pseudo-terminal', () => {
  it('is the slave of its master', () => {
    const free = newMaster();
    const index = indexOf(free);
    free.close();
    const world = newWorld();
    const slave = ptySlave.restore({ index, flags: 2, exclusive: false }, world);
    opened.push(slave);
    expect(readlinkSync(`/proc/self/fd/${slave.number}`)).toBe(slavePath(index));
    expect(windowSize(slave.number)).toEqual(windowSize(terminal(world, index).master.number));
  });

  it('of another instance of devpts is refused', () => {
    const view = descriptorView({ ...looks.terminal, siblings: [descriptorView(looks.master)] });
    expect(ptySlave.obstacles?.(view)).toMatchObject([{ code: 'terminal' }]);
  });
});
