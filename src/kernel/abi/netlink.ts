/** Netlink messages and socket diagnostics: netlink(7), sock_diag(7). */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

export const NETLINK = {
  SOL_NETLINK: 270,
  NETLINK_ROUTE: 0,
  NETLINK_USERSOCK: 2,
  NETLINK_SOCK_DIAG: 4,
  NETLINK_XFRM: 6,
  NETLINK_AUDIT: 9,
  NETLINK_CONNECTOR: 11,
  NETLINK_KOBJECT_UEVENT: 15,
  NETLINK_GENERIC: 16,
  NETLINK_ADD_MEMBERSHIP: 1,
  NETLINK_PKTINFO: 3,
  NETLINK_BROADCAST_ERROR: 4,
  NETLINK_NO_ENOBUFS: 5,
  NETLINK_LISTEN_ALL_NSID: 8,
  NETLINK_LIST_MEMBERSHIPS: 9,
  NETLINK_CAP_ACK: 10,
  NETLINK_EXT_ACK: 11,
  NETLINK_GET_STRICT_CHK: 12,
  NETLINK_NETFILTER: 12,
  NLM_F_REQUEST: 0x1,
  NLM_F_ACK: 0x4,
  NLM_F_DUMP: 0x300,
  NLM_F_CREATE: 0x400,
  NLM_F_EXCL: 0x200,
  NLM_F_APPEND: 0x800,
  NLM_F_DUMP_INTR: 0x10,
  NLMSG_ERROR: 2,
  NLMSG_DONE: 3,
  NLA_F_NESTED: 0x8000,
  NLA_TYPE_MASK: ~0xc000,
} as const;

export const SOCK_DIAG = {
  SOCK_DIAG_BY_FAMILY: 20,
  UDIAG_SHOW_NAME: 1,
  UDIAG_SHOW_VFS: 2,
  UDIAG_SHOW_PEER: 4,
  UDIAG_SHOW_ICONS: 8,
  UDIAG_SHOW_RQLEN: 16,
  INET_DIAG_INFO: 2,
  INET_DIAG_MD5SIG: 18,
  UNIX_DIAG_NAME: 0,
  UNIX_DIAG_VFS: 1,
  UNIX_DIAG_PEER: 2,
  UNIX_DIAG_ICONS: 3,
  UNIX_DIAG_RQLEN: 4,
  UNIX_DIAG_SHUTDOWN: 6,
} as const;

/** linux/xfrm.h: XFRM_POLICY_MAX is of directions. */
export const XFRM = { XFRM_MSG_GETPOLICY: 0x15, XFRM_POLICY_MAX: 3 } as const;

export const netlinkAbi = defineAbi({
  headers: [
    'sys/socket.h',
    'linux/netlink.h',
    'linux/sock_diag.h',
    'linux/unix_diag.h',
    'linux/inet_diag.h',
    'linux/in.h',
    'linux/in6.h',
    'linux/xfrm.h',
  ],
  constants: { ...NETLINK, ...SOCK_DIAG, ...XFRM },
  structs: {
    xfrm_userpolicy_info: { size: 168, fields: { dir: [160, 'u8'] } },
    sockaddr_nl: { size: 12, fields: { nl_family: [0, 'u16'], nl_pid: [4, 'u32'], nl_groups: [8, 'u32'] } },
    nlmsghdr: {
      size: 16,
      fields: {
        nlmsg_len: [0, 'u32'],
        nlmsg_type: [4, 'u16'],
        nlmsg_flags: [6, 'u16'],
        nlmsg_seq: [8, 'u32'],
        nlmsg_pid: [12, 'u32'],
      },
    },
    nlattr: { size: 4, fields: { nla_len: [0, 'u16'], nla_type: [2, 'u16'] } },
    unix_diag_req: {
      size: 24,
      fields: {
        sdiag_family: [0, 'u8'],
        sdiag_protocol: [1, 'u8'],
        udiag_states: [4, 'u32'],
        udiag_ino: [8, 'u32'],
        udiag_show: [12, 'u32'],
        udiag_cookie: [16, bytes(8)],
      },
    },
    unix_diag_msg: {
      size: 16,
      fields: {
        udiag_family: [0, 'u8'],
        udiag_type: [1, 'u8'],
        udiag_state: [2, 'u8'],
        udiag_ino: [4, 'u32'],
        udiag_cookie: [8, bytes(8)],
      },
    },
    unix_diag_vfs: { size: 8, fields: { udiag_vfs_ino: [0, 'u32'], udiag_vfs_dev: [4, 'u32'] } },
    unix_diag_rqlen: { size: 8, fields: { udiag_rqueue: [0, 'u32'], udiag_wqueue: [4, 'u32'] } },
    inet_diag_req_v2: {
      size: 56,
      fields: {
        sdiag_family: [0, 'u8'],
        sdiag_protocol: [1, 'u8'],
        idiag_ext: [2, 'u8'],
        idiag_states: [4, 'u32'],
      },
    },
    inet_diag_msg: {
      size: 72,
      fields: {
        idiag_family: [0, 'u8'],
        idiag_state: [1, 'u8'],
        'id.idiag_sport': [4, bytes(2)],
        'id.idiag_dport': [6, bytes(2)],
        'id.idiag_src': [8, bytes(16)],
        'id.idiag_dst': [24, bytes(16)],
        'id.idiag_if': [40, 'u32'],
        idiag_rqueue: [56, 'u32'],
        idiag_wqueue: [60, 'u32'],
        idiag_uid: [64, 'u32'],
        idiag_inode: [68, 'u32'],
      },
    },
  },
});
