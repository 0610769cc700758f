"""A server outside of what is saved: echoes what it is sent, by a stream, by packets and by datagrams, until it is ended."""
import array, os, select, socket

def listener(kind, name):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(name)
    if kind != socket.SOCK_DGRAM:
        made.listen(16)
    return made

stream, log = listener(socket.SOCK_STREAM, "served"), listener(socket.SOCK_DGRAM, "log")
packets = listener(socket.SOCK_SEQPACKET, b"\0quicksave outside %d" % os.getpid())
slow = listener(socket.SOCK_STREAM, "slow")
reads, writes = os.pipe()
print("ready", os.getpid(), flush=True)
ends = [stream, log, packets]
while True:
    for end in select.select(ends, [], [])[0]:
        if end in (stream, packets):
            ends.append(end.accept()[0])
        elif end is log:
            what, sender = log.recvfrom(4096)
            log.sendto(what, sender)
        else:
            try:
                what = end.recv(4096)
            except ConnectionResetError:
                what = b""
            if what == b"pipe":
                os.write(writes, b"from outside")
                socket.send_fds(end, [what], [reads])
            elif what:
                end.send(what)
            else:
                ends.remove(end)
