/** fanotify(7): fanotify_init(2), fanotify_mark(2), and what it gives to read. */
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems. */
const NEWER_FAN = {
  /** Linux 6.14, linux/fanotify.h */
  FAN_REPORT_MNT: 0x4000,
  /** Linux 6.14, linux/fanotify.h */
  FAN_MARK_MNTNS: 0x110,
} as const;

export const FAN = {
  FAN_CLOEXEC: 0x1,
  FAN_NONBLOCK: 0x2,
  FAN_CLASS_CONTENT: 0x4,
  FAN_CLASS_PRE_CONTENT: 0x8,
  FAN_REPORT_FID: 0x200,
  FAN_REPORT_DIR_FID: 0x400,
  FAN_REPORT_NAME: 0x800,
  FAN_REPORT_TARGET_FID: 0x1000,
  FAN_MARK_ADD: 0x1,
  FAN_MARK_DONT_FOLLOW: 0x4,
  FAN_MARK_IGNORED_MASK: 0x20,
  FAN_MARK_IGNORED_SURV_MODIFY: 0x40,
  FAN_MARK_EVICTABLE: 0x200,
  FAN_MARK_IGNORE: 0x400,
  FAN_MARK_INODE: 0,
  FAN_MARK_MOUNT: 0x10,
  FAN_MARK_FILESYSTEM: 0x100,
  FAN_EVENT_INFO_TYPE_PIDFD: 4,
  ...NEWER_FAN,
} as const;

export const fanotifyAbi = defineAbi({
  headers: ['linux/fanotify.h'],
  constants: { ...FAN },
  unlisted: { ...NEWER_FAN },
  structs: {
    fanotify_event_metadata: {
      size: 24,
      fields: { event_len: [0, 'u32'], metadata_len: [6, 'u16'], mask: [8, 'u64'], fd: [16, 'i32'], pid: [20, 'i32'] },
    },
    fanotify_event_info_header: { size: 4, fields: { info_type: [0, 'u8'], len: [2, 'u16'] } },
    fanotify_event_info_pidfd: { size: 8, fields: { pidfd: [4, 'i32'] } },
  },
});
