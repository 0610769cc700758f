/** What the plan and the rebuilding ask of this host. */
import { createHash } from 'node:crypto';
import type { XstateLayout } from '../arch/x86/xstate.ts';
import { xsaveLayout } from '../kernel/cpu.ts';
import { probeMemoryNames } from '../kernel/features.ts';
import { bytesAt } from '../kernel/native-memory.ts';
import { readCpuinfo } from '../procfs/cpuinfo.ts';
import { readMaps } from '../procfs/smaps.ts';
import { readStatus } from '../procfs/status.ts';
import { mayChoosePids } from '../resources/pid-choice.ts';
import type { HostView } from '../resources/resource.ts';
import { asPid, localAddress } from '../support/brand.ts';

export interface RestartHost extends HostView {
  readonly layout: XstateLayout;
  readonly cpuFeatures: ReadonlySet<string>;
  readonly vdsoSha256: string;
  /** Mappings that the kernel makes in every process, by name, with their sizes in bytes. */
  readonly kernelMappings: ReadonlyMap<string, number>;
  readonly mayChoosePids: boolean;
  /** PR_SET_VMA_ANON_NAME, a configuration of the kernel. */
  readonly mayNameMemory: boolean;
}

export function lookAtHost(request: Pick<HostView, 'acceptChangedFiles' | 'keepsParent'>): RestartHost {
  const ownPid = asPid(process.pid);
  const status = readStatus(ownPid);
  const special = readMaps(ownPid).filter((entry) => entry.special !== undefined);
  const vdso = special.find((entry) => entry.special === '[vdso]');
  return {
    ownPid,
    status,
    acceptChangedFiles: request.acceptChangedFiles,
    keepsParent: request.keepsParent,
    layout: xsaveLayout(),
    cpuFeatures: readCpuinfo().flags,
    vdsoSha256: vdso === undefined ? '' : hashVdso(vdso.start, vdso.end - vdso.start),
    kernelMappings: new Map(special.map((entry) => [entry.special ?? '', entry.end - entry.start])),
    mayChoosePids: mayChoosePids(status),
    mayNameMemory: probeMemoryNames().available,
  };
}

/** Over the ELF image only: behind it there may be something of a debugger's. */
function hashVdso(start: number, sizeBytes: number): string {
  const image = bytesAt(localAddress(start), sizeBytes);
  const end = Number(image.readBigUInt64LE(40)) + image.readUInt16LE(58) * image.readUInt16LE(60);
  return createHash('sha256').update(image.subarray(0, end)).digest('hex');
}
