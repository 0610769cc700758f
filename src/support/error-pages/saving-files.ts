/** Descriptors that cannot be saved: files, sockets, terminals. */
import type { ErrorPages } from './error-page.ts';

export const fileErrors = {
  'busy-aio': {
    means: 'The kernel works on requests of asynchronous I/O (io_submit), and has not ended them in a second.',
    remedy: 'Try again when they have been answered.',
  },
  'busy-io-uring': {
    means: 'The kernel works on requests of an io_uring, or has answers that the program has not made room for.',
    remedy: 'Try again when they have been answered.',
  },
  'eventfd-mode': {
    means: 'This kernel does not tell whether an eventfd is a semaphore.',
    remedy: 'Use Linux 6.5 or newer.',
  },
  'held-outside': {
    means: 'A file that has state of its own is open outside of what is saved too.',
    remedy: 'Close it there, or end the other process first.',
  },
  'io-uring': {
    means: 'An io_uring was made, or has something registered with it, in a way that cannot be made again.',
    remedy: 'Save it when the program has closed it.',
  },
  lease: {
    means: 'A file lease (F_SETLEASE) is being broken, or would be by the save.',
    remedy: 'Save it when the lease has been given up.',
  },
  lock: {
    means: 'A file lock is of a kind that is not supported.',
    remedy: 'Save it when the lock has been given up.',
  },
  'not-under-its-name': {
    means: 'A file that is open is not the one that has its name now.',
    remedy: 'Save it when the program has closed it.',
  },
  'path-lost': {
    means: 'What a path-only descriptor (O_PATH) refers to cannot be found by a name.',
    remedy: 'Save it when the program has closed it.',
  },
  'path-no-text': {
    means: 'A path is not UTF-8.',
    remedy: 'Rename the file before the program opens it, or save it when the program has closed it.',
  },
  'pidfd-outside': {
    means: 'A pidfd is of a process that is not saved.',
    remedy: 'Save it when the program has closed it.',
  },
  'pipe-content': {
    means: 'What was in a pipe could not be copied as a whole.',
    remedy: 'Try again; if it stays so, raise the limits of pipes (fs.pipe-user-pages-soft).',
  },
  'pipe-to-outside': {
    means: 'The other end of a pipe is outside of what is saved.',
    remedy:
      'Close the pipe, or end the other process, or save a process that is above both; or give --close-external, and the other end comes back as closed.',
  },
  'proc-file': {
    means: 'A file of /proc that is open cannot be opened again as it was, or a value cannot be written to one.',
    remedy: 'Save it when the program has closed it.',
  },
  'renamed-file': {
    means: 'An open file has lost its name, and another name of it cannot be found.',
    remedy: 'Save it when the program has closed it.',
  },
  'signal-owner': {
    means: 'A descriptor signals a process that is not saved (F_SETOWN).',
    remedy: 'Save it when the program has taken that back, or closed it.',
  },
  'unknown-descriptor': {
    means: 'A descriptor is of a kind that is not supported.',
    remedy: 'Save it when the program has closed it.',
  },
  'unknown-epoll-entry': {
    means: 'An epoll watches a file that the process has no descriptor of any more.',
    remedy: 'Save it when whoever holds that file has closed it.',
  },
  'unknown-watch': {
    means:
      'What inotify or fanotify watches cannot be found by a name, or the number of the watch cannot be given again, or a directory is watched by fcntl(2) (F_NOTIFY).',
    remedy: 'Save it as root, or when the program has removed the watch.',
  },
} as const satisfies ErrorPages;

export const socketErrors = {
  'corked-datagram': {
    means: 'A datagram is being put together in a socket (UDP_CORK, MSG_MORE).',
    remedy: 'Save it when the program has sent the datagram.',
  },
  'descriptors-in-flight': {
    means:
      'Descriptors have been sent (SCM_RIGHTS) that have not been received yet and cannot be seen: behind an error, or, if no process that is saved has them under a number, to a connection that nobody has accepted, or with an empty message that has been looked at.',
    remedy: 'Save it when the program has received them.',
  },
  'multicast-member': {
    means: 'A socket takes packets to a multicast group by more than 1,024 sources.',
    remedy: 'Save it when the program has left the group.',
  },
  'netlink-socket': {
    means: 'A netlink socket may have something in the kernel that goes by its number, such as queues or tables.',
    remedy: 'Save it when the program has closed it.',
  },
  'odd-connection': {
    means: 'A datagram socket is connected to one that has no name and is connected elsewhere.',
    remedy: 'Save it when the program has closed it.',
  },
  'odd-queue': {
    means: 'A message waits in a socket that could not be sent to it as it is connected now.',
    remedy: 'Save it when the program has received the message.',
  },
  'packet-socket': {
    means:
      'A packet socket has what cannot be brought back: a ring (PACKET_RX_RING), a fanout group, an interface that is gone.',
    remedy: 'End the capture first.',
  },
  'pending-connection': {
    means:
      'Connections wait in a listening socket to be accepted, and would be lost: of others, or with something that cannot be seen.',
    remedy: 'Try again when the program has accepted them, or, of UNIX sockets of others, give --close-external.',
  },
  'pending-error': {
    means: 'A socket has an error, behind which messages wait.',
    remedy: 'Save it when the program has read from the socket.',
  },
  'relative-socket-name': {
    means: 'A socket is bound to a relative path that leads elsewhere now.',
    remedy: 'Bind the socket to an absolute path.',
  },
  'socket-elsewhere': {
    means: 'The socket is of another network namespace.',
    remedy: 'Save it when the program has closed it.',
  },
  'socket-family': {
    means: 'The socket is of a family that is not supported.',
    remedy: 'Save it when the program has closed it.',
  },
  'socket-filter': {
    means:
      'The socket has a filter of eBPF (SO_ATTACH_BPF), or a program chooses among it and others with its port (SO_ATTACH_REUSEPORT_CBPF).',
    remedy: 'Save it when the program has closed it.',
  },
  'socket-policy': {
    means: 'A socket has an IPsec policy of its own (IP_XFRM_POLICY, IPV6_XFRM_POLICY).',
    remedy: 'Save it when the program has closed it.',
  },
  'socket-queue': {
    means: 'What waits in a socket could not be looked at as a whole.',
    remedy: 'Try again when the program has read what waits in it.',
  },
  'socket-to-outside': {
    means: 'The other end of a UNIX socket is outside of what is saved.',
    remedy:
      'Save the other process together with it, or close the connection first; or give --external SOCKET, and a restart connects it again, or --close-external, and it comes back as closed.',
  },
  'tcp-connection': {
    means: 'A TCP connection is open, and --tcp refuse was given.',
    remedy: 'Close the connection first, or give --tcp established or --tcp close.',
  },
  'tcp-end': {
    means: 'A restarted TCP connection could not be told how it had ended.',
    remedy: 'Look whether a firewall drops packets that this host sends to itself.',
  },
  'tcp-info': {
    means: 'The kernel does not tell the state of a TCP socket.',
    remedy: 'Save it when the program has closed it.',
  },
  'tcp-layer': {
    means:
      'A TCP connection has a layer of the kernel on it (TCP_ULP), such as TLS, or keys that sign its segments (TCP_MD5SIG).',
    remedy: 'Close the connection first, or switch that layer off in the program.',
  },
  'tcp-queue': {
    means: 'What waits in a TCP connection could not be read, or could not be given back, as a whole.',
    remedy: 'Try again.',
  },
  'tcp-state': {
    means: 'A TCP connection is between two states.',
    remedy: 'Try again.',
  },
  terminal: {
    means: 'A terminal is open in a way that is not supported.',
    remedy: 'Save it when the program has closed the terminal.',
  },
  'terminal-content': {
    means: 'Something waits in a terminal that has not been read.',
    remedy: 'Save it a moment later.',
  },
  'terminal-session': {
    means: 'A terminal is that of a session outside of what is saved.',
    remedy: 'Save the process above it, or have the program close the terminal.',
  },
  'waiting-packets': {
    means: 'Something waits in a raw, ICMP, packet or netlink socket, where nothing can be put back.',
    remedy: 'Try again when the program has received it.',
  },
  'urgent-byte': {
    means: 'A socket has an out-of-band byte that has not been read.',
    remedy: 'Save it when the program has read it.',
  },
} as const satisfies ErrorPages;
