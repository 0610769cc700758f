/** Sockets that cannot be saved are refused with their names, and the target goes on. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  readIfThere,
  said,
  saveAndEnd,
  start,
  type Target,
} from '../support/harness.ts';

/** A Python program that prepares, says ready and waits. */
async function waiting(folder: string, lines: string): Promise<Target> {
  const program = `import array, os, socket, sys, time\n${lines}\nprint("ready", flush=True)\ntime.sleep(600)\n`;
  writeFileSync(join(folder, 'program.py'), program);
  const target = start(folder, 'python3', ['program.py']);
  await said(target.output, 'ready');
  return target;
}

const refused: [string, string, RegExp][] = [
  [
    'a netlink socket of a protocol that may keep something for it',
    's = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)',
    /netlink socket of protocol 12/,
  ],
  [
    'a netlink socket with an answer that waits',
    'n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.send(bytes.fromhex("1400000012000103") + bytes(12))',
    /It has messages to be received/,
  ],
  [
    'a raw socket with a packet that waits',
    'r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); r.bind(("127.78.0.1", 0)); r.sendto(b"x", ("127.78.0.1", 0))',
    /It has packets to be received/,
  ],
  [
    'a raw socket over IPv6 with a packet that waits',
    'r = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253); r.bind(("::1", 0)); r.sendto(b"x", ("::1", 0))',
    /It has packets to be received/,
  ],
  [
    'a packet socket with packets that wait',
    'p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); p.bind(("lo", 0x0800))\nd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.sendto(b"x", ("127.78.0.1", 9))',
    /It has packets to be received/,
  ],
  [
    'a packet socket with a ring',
    'import struct; p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); p.setsockopt(263, 5, struct.pack("IIII", 4096, 1, 2048, 2))',
    /packet socket with a ring/,
  ],
  [
    'a packet socket in a group',
    'p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); p.bind(("lo", 0x88b5)); p.setsockopt(263, 18, os.getpid() & 0xffff)',
    /in a group of them \(PACKET_FANOUT\)/,
  ],
  [
    'a TCP socket with a key',
    'import struct; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM); s.setsockopt(6, 14, struct.pack("<HH4s", 2, 0, bytes([127, 78, 0, 1])).ljust(128, bytes(1)) + struct.pack("<BBHI80s", 0, 0, 3, 0, b"key"))\ns.bind(("127.0.0.1", 0)); s.listen()',
    /keys that its segments are signed with \(TCP_MD5SIG\)/,
  ],
  [
    'a socket of another network namespace',
    'import ctypes; l = ctypes.CDLL(None); o = os.open("/proc/self/ns/net", 0)\nif l.unshare(0x40000000): raise OSError("unshare")\ns = socket.socket(socket.AF_INET, socket.SOCK_STREAM); l.setns(o, 0); os.close(o)',
    /It is a socket of another network namespace/,
  ],
  ['a raw socket of IGMP', 's = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2)', /may route multicast packets/],
  ['a socket of Multipath TCP', 's = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)', /Multipath TCP/],
  ['a cipher of the kernel', 's = socket.socket(38, socket.SOCK_SEQPACKET, 0)', /AF_ALG/],
  ['a vsock socket', 's = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)', /vsock/],
  ['an SCTP socket', 's = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)', /an SCTP socket/],
  ['an XDP socket', 's = socket.socket(44, socket.SOCK_RAW, 0)', /an XDP socket/],
  [
    'a descriptor that is only in flight to a connection that nobody has accepted',
    'l = socket.socket(socket.AF_UNIX); l.bind("served"); l.listen()\nc = socket.socket(socket.AF_UNIX); c.connect("served"); f = os.open("/proc/self/maps", 0); socket.send_fds(c, [b"x"], [f]); os.close(f)',
    /Descriptors have been sent to it \(SCM_RIGHTS\)/,
  ],
  [
    'a netlink socket in flight in a socket in flight',
    'a, b = socket.socketpair(); c, d = socket.socketpair(); n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\nsocket.send_fds(c, [b"x"], [n.fileno()]); n.close(); socket.send_fds(a, [b"y"], [d.fileno()]); d.close()',
    /in flight to fd \d+.*netlink socket/,
  ],
  [
    'an epoll in flight that watches something',
    'import select; a, b = socket.socketpair(); e = select.epoll(); e.register(a, select.EPOLLIN)\nsocket.send_fds(a, [b"x"], [e.fileno()]); e.close()',
    /in flight to fd \d+.*It watches/,
  ],
  [
    'a filter of eBPF',
    'import ctypes, struct; code = ctypes.create_string_buffer(bytes.fromhex("b7000000ffffffff9500000000000000")); name = ctypes.create_string_buffer(b"GPL")\nattr = struct.pack("<IIQQ", 1, 2, ctypes.addressof(code), ctypes.addressof(name)).ljust(128, bytes(1)); f = ctypes.CDLL(None, use_errno=True).syscall(321, 5, attr, 128)\nif f < 0: raise OSError(ctypes.get_errno(), "bpf")\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, 50, f); os.close(f)',
    /filter of eBPF \(SO_ATTACH_BPF\)/,
  ],
  [
    'a program that chooses among sockets with one port',
    'import ctypes, struct; code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0), 8)\ns = socket.socket(socket.AF_INET, socket.SOCK_STREAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(("127.0.0.1", 0)); s.listen()\ns.setsockopt(socket.SOL_SOCKET, 51, struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))',
    /A program chooses among it and others with its port/,
  ],
  [
    'an IPsec policy of a socket',
    'import struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(0, 17, struct.pack("<40xH14x8Q32xIIBBBBI", 2, *[2**64 - 1] * 4, *[0] * 4, 0, 0, 1, 0, 0, 0, 0))',
    /IPsec policy of its own \(IP_XFRM_POLICY\)/,
  ],
  ['an out-of-band byte', 'a, b = socket.socketpair(); a.send(b"!", socket.MSG_OOB)', /out-of-band byte/],
  [
    'a connection of one with a name that has gone, which nobody has accepted',
    'l = socket.socket(socket.AF_UNIX); l.bind("served"); l.listen()\nc = socket.socket(socket.AF_UNIX); c.bind("client"); c.connect("served"); c.close()',
    /by a client that has gone, and had a name/,
  ],
];

test.for(refused)('%s is refused by its name', async ([what, lines, sentence], context) => {
  const folder = newFolder();
  const safe = `try:\n ${lines.replaceAll('\n', '\n ')}\nexcept OSError as error:\n print("lacking", error, flush=True)`;
  const target = await waiting(folder, safe);
  if (readIfThere(target.output)?.includes('lacking')) context.skip(`this kernel does not have ${what}`);
  const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(sentence);
  expect(result.stderr).toMatch(/Save it when|End the|Try again when/);
  expect(isAlive(target.pid)).toBe(true);
});

test('a connection to a process outside is refused, with its name, pid and descriptor', async () => {
  const folder = newFolder();
  const server = createServer(() => {});
  server.listen(join(folder, 'server'));
  const target = await waiting(folder, 's = socket.socket(socket.AF_UNIX); s.connect("server")');
  const result = await quicksave('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  server.close();
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(new RegExp(`other end ${process.pid} \\(.*, fd \\d+\\) holds`));
  expect(isAlive(target.pid)).toBe(true);
});

test('a name that has been taken, or whose directory is gone, is refused before anything is made', async () => {
  const folder = newFolder();
  const target = await waiting(
    folder,
    'os.mkdir("d"); l = socket.socket(socket.AF_UNIX); l.bind("served"); l.listen()\n' +
      `m = socket.socket(socket.AF_UNIX); m.bind("${folder}/d/other"); m.listen()`,
  );
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  const holder =
    'import socket, os, sys, time\nos.unlink("served"); l = socket.socket(socket.AF_UNIX); l.bind("served"); l.listen()\n';
  const folderGone = 'import shutil; shutil.rmtree("d")\nprint("ready", flush=True); time.sleep(600)';
  const other = start(folder, 'python3', ['-c', holder + folderGone]);
  await said(other.output, 'ready');
  const result = await quicksave('restart', image, '--detach');
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/socket with the name served\. There is a file of that name that is in use/);
  expect(result.stderr).toMatch(/d\/other, and the directory of that is not there/);
  await gone(target.pid);
});

test('datagrams that could reach another socket are told to be lost, with how many they are', async () => {
  const folder = newFolder();
  const target = await waiting(
    folder,
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", 0))\n' +
      'c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.sendto(b"one", s.getsockname()); c.sendto(b"two", s.getsockname())',
  );
  const saved = await mustRun('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(saved.stderr).toMatch(/UDP 127\.0\.0\.1:\d+\) had 2 datagrams to be received: they are not in the image/);
});

test('a datagram behind an error that waits is told to be lost, and the program that goes on still has both', async () => {
  const folder = newFolder();
  const prepare = [
    'p = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); p.bind(("127.0.0.1", 0))',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(p.getsockname())',
    // The peer has gone when the last one comes: connection refused.
    'p.sendto(b"waits", s.getsockname()); p.close(); s.send(b"to nobody")',
  ];
  const program = [
    'import os, socket, time',
    ...prepare,
    'print("ready", flush=True)',
    'while not os.path.exists("go"): time.sleep(0.01)',
    'try: s.recv(99)',
    'except ConnectionRefusedError: print("refused", s.recv(99), flush=True)',
  ];
  const target = start(folder, 'python3', ['-c', program.join('\n')]);
  await said(target.output, 'ready');
  const saved = await mustRun('checkpoint', String(target.pid), '--output', join(folder, 'image'));
  expect(saved.stderr).toMatch(/UDP 127\.0\.0\.1:\d+\) had a datagram to be received: they are not in the image/);
  writeFileSync(join(folder, 'go'), '');
  await said(target.output, "refused b'waits'");
});
