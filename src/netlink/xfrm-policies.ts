/** IPsec policies of our network namespace as the kernel lists them: linux/xfrm.h (CONFIG_XFRM_USER; CAP_NET_ADMIN). */
import { NETLINK, netlinkAbi, XFRM } from '../kernel/abi/netlink.ts';
import { KernelError } from '../kernel/errors.ts';
import { structOf } from '../kernel/struct.ts';
import { dump } from './dump.ts';
import { ofAtLeast, viewOf } from './messages.ts';

const info = structOf(netlinkAbi.structs.xfrm_userpolicy_info);

/**
 * Whether any socket has one of its own (IP_XFRM_POLICY, IPV6_XFRM_POLICY): those have directions of their own behind the others (__xfrm_sk_policy_insert
 * of net/xfrm/xfrm_policy.c). Which socket, the list does not say. False where we are not told.
 */
export function socketsHavePolicies(): boolean {
  try {
    return dump(
      NETLINK.NETLINK_XFRM,
      { type: XFRM.XFRM_MSG_GETPOLICY, payload: Buffer.alloc(0) },
      'list the policies of IPsec',
    ).some(({ payload }) => isOfSocket(payload));
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

export const isOfSocket = (payload: Buffer): boolean =>
  info.read(viewOf(ofAtLeast(info.size, payload))).dir >= XFRM.XFRM_POLICY_MAX;
