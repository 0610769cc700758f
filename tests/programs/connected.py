"""
Pipes with both ends, one of them twice, and an epoll that watches them; a thread; memory of several sorts. With a port also a pair of
sockets, and a connection to who listens there.
"""
import mmap
import os
import select
import socket
import sys
import threading
import time

read, write = os.pipe()
other_read, other_write = os.pipe()
again = os.dup(write)
watcher = select.epoll()
watcher.register(read, select.EPOLLIN)
watcher.register(other_read, select.EPOLLIN)
shared = mmap.mmap(-1, 1 << 20)
shared[:5] = b'hello'
filled = bytearray(os.urandom(1 << 20))
untouched = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE)
if len(sys.argv) > 1:
    pair = socket.socketpair()
    outside = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
threading.Thread(target=lambda: time.sleep(9999), daemon=True, name='</script><b>').start()
print('ready', flush=True)
time.sleep(9999)
