/**
 * What a socket of the internet protocols has been given that cannot be given again, and that no call tells: looked for in the kernel's own structs only where a cheap
 * sign says that there may be some.
 */
import { hasChooser, hasPolicy } from '../../kernel/calls/inet-internals.ts';
import { socketsHavePolicies } from '../../netlink/xfrm-policies.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorView } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { inetProblem } from './inet-obstacles.ts';

/** `sharesPort`: it has SO_REUSEPORT, and an address. */
export function hiddenSettings(view: DescriptorView, sharesPort: boolean): Problem[] {
  const found: Problem[] = [];
  if (sharesPort && lookThrough(view, hasChooser) === true)
    found.push(
      inetProblem(
        view,
        'socket-filter',
        'A program chooses among it and others with its port (SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF)',
      ),
    );
  if (anyPolicies(view) && lookThrough(view, hasPolicy) === true)
    found.push(inetProblem(view, 'socket-policy', 'It has an IPsec policy of its own (IP_XFRM_POLICY)'));
  return found;
}

const asked = new WeakMap<readonly DescriptorView[], boolean>();

/** Asked once for all descriptors that are looked at together. */
function anyPolicies({ siblings }: DescriptorView): boolean {
  const known = asked.get(siblings) ?? socketsHavePolicies();
  asked.set(siblings, known);
  return known;
}
