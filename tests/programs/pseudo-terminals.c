/* Pseudo-terminals with both ends in one process: pts(4), ioctl_tty(2). */
#include "self-check.h"
#include <asm/termbits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static int number_of(int master) {
  int number = -1;
  CHECK(ioctl(master, TIOCGPTN, &number) == 0, "TIOCGPTN: errno %d", errno);
  return number;
}

static int new_master(int flags) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | flags);
  CHECK(master >= 0, "/dev/ptmx: errno %d", errno);
  return master;
}

static void set_lock(int master, int lock) { CHECK(ioctl(master, TIOCSPTLCK, &lock) == 0, "TIOCSPTLCK"); }

static int open_slave(int master, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/dev/pts/%d", number_of(master));
  return open(path, flags);
}

static struct termios2 settings_of(int terminal) {
  struct termios2 settings;
  CHECK(ioctl(terminal, TCGETS2, &settings) == 0, "TCGETS2: errno %d", errno);
  return settings;
}

static void pass(int from, int to, const char *sent, const char *expected) {
  char got[64] = "";
  CHECK(write(from, sent, strlen(sent)) == (ssize_t)strlen(sent), "write of %s: errno %d", sent, errno);
  struct pollfd ready = {to, POLLIN, 0};
  CHECK(poll(&ready, 1, 10000) == 1, "nothing came of %s", sent);
  ssize_t length = read(to, got, sizeof got - 1);
  CHECK(length == (ssize_t)strlen(expected) && memcmp(got, expected, length) == 0, "%s came as %zd: %s", sent, length, got);
}

static volatile sig_atomic_t interrupts, resizes;
static void count(int signal) {
  if (signal == SIGINT) interrupts++;
  else resizes++;
}

static int wait_for(volatile sig_atomic_t *counter) {
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < 10000 && *counter == 0; i++) nanosleep(&moment, NULL);
  return *counter;
}

int main(void) {
  /* The number of the first one is free again: the next to be made gets it. */
  int gap = new_master(0);
  int raw = new_master(O_NONBLOCK), fresh = new_master(O_CLOEXEC), left = new_master(O_NONBLOCK), own = new_master(0);
  int numbers[] = {number_of(raw), number_of(fresh), number_of(left), number_of(own)};
  close(gap);
  set_lock(raw, 0);
  set_lock(left, 0);
  set_lock(own, 0);

  int slave = open_slave(raw, O_RDWR | O_NOCTTY), reader = open_slave(raw, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  int same = dup(slave);
  CHECK(slave >= 0 && reader >= 0 && same >= 0, "the slave: errno %d", errno);
  struct termios2 odd = settings_of(slave);
  odd.c_lflag = 0;
  odd.c_iflag = IXANY;
  odd.c_oflag = 0;
  odd.c_cflag = (odd.c_cflag & ~CBAUD & ~(CBAUD << IBSHIFT)) | BOTHER | (BOTHER << IBSHIFT);
  odd.c_ispeed = 12345;
  odd.c_ospeed = 54321;
  odd.c_cc[VMIN] = 3;
  odd.c_cc[VTIME] = 2;
  odd.c_cc[VKILL] = 'k';
  CHECK(ioctl(slave, TCSETS2, &odd) == 0, "TCSETS2");
  odd = settings_of(slave);
  struct winsize size = {11, 22, 33, 44}, now;
  CHECK(ioctl(slave, TIOCSWINSZ, &size) == 0 && ioctl(slave, TIOCEXCL) == 0, "the window size");

  /* Its slave has been open, and is so no more. */
  close(open_slave(left, O_RDWR | O_NOCTTY));

  /* The controlling terminal. Packet mode tells what happens to the slave. */
  int mine = open_slave(own, O_RDWR | O_NOCTTY), on = 1;
  CHECK(mine >= 0, "the terminal: errno %d", errno);
  if (getsid(0) != getpid()) CHECK(setsid() == getpid(), "setsid");
  CHECK(ioctl(mine, TIOCSCTTY, 0) == 0, "TIOCSCTTY: errno %d", errno);
  CHECK(ioctl(own, TIOCPKT, &on) == 0, "TIOCPKT");
  signal(SIGINT, count);
  signal(SIGWINCH, count);

  int ends[] = {raw, fresh, left, own, slave, reader, same, mine}, flags[8];
  for (int i = 0; i < 8; i++) flags[i] = fcntl(ends[i], F_GETFL);

  say("ready\n");
  wait_for_go();

  for (int i = 0; i < 8; i++) {
    CHECK(fcntl(ends[i], F_GETFL) == flags[i], "flags of %d: %x, not %x", ends[i], fcntl(ends[i], F_GETFL), flags[i]);
    CHECK(fcntl(ends[i], F_GETFD) == (ends[i] == fresh ? FD_CLOEXEC : 0), "close-on-exec of %d", ends[i]);
  }
  int after[] = {number_of(raw), number_of(fresh), number_of(left), number_of(own)};
  CHECK(memcmp(numbers, after, sizeof after) == 0, "the numbers");
  struct termios2 settings = settings_of(same);
  CHECK(memcmp(&settings, &odd, sizeof odd) == 0, "the settings");
  CHECK(settings.c_ispeed == 12345 && settings.c_ospeed == 54321, "the speed");
  CHECK(ioctl(reader, TIOCGWINSZ, &now) == 0 && memcmp(&now, &size, sizeof now) == 0, "the window size");
  CHECK(ioctl(raw, TIOCGWINSZ, &now) == 0 && memcmp(&now, &size, sizeof now) == 0, "the master's window size");
  int exclusive = 0, locked = 0, packets = 0;
  CHECK(ioctl(slave, TIOCGEXCL, &exclusive) == 0 && exclusive, "the exclusive mode");
  CHECK(ioctl(fresh, TIOCGPTLCK, &locked) == 0 && locked, "the lock");
  CHECK(ioctl(raw, TIOCGPTLCK, &locked) == 0 && !locked, "the open lock");
  CHECK(ioctl(own, TIOCGPKT, &packets) == 0 && packets, "packet mode");
  CHECK(open_slave(fresh, O_RDWR | O_NOCTTY) == -1 && errno == EIO, "the locked slave: errno %d", errno);
  CHECK((fcntl(raw, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK), "flags of a master");
  CHECK(!(fcntl(own, F_GETFL) & O_NONBLOCK) && fcntl(fresh, F_GETFD) == FD_CLOEXEC, "flags of other masters");
  CHECK((fcntl(reader, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK), "flags of a slave");
  CHECK((fcntl(slave, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR, "flags of the other slave");
  CHECK(write(reader, "x", 1) == -1 && errno == EBADF, "a slave for reading only");
  char byte;
  CHECK(read(left, &byte, 1) == -1 && errno == EIO, "the slave that was closed: errno %d", errno);
  CHECK(read(raw, &byte, 1) == -1 && errno == EAGAIN, "the master has something: errno %d", errno);
  struct stat link;
  CHECK(fstat(slave, &link) == 0 && minor(link.st_rdev) == (unsigned)numbers[0], "the device");
  CHECK(fcntl(slave, F_SETFL, O_NONBLOCK) == 0 && (fcntl(same, F_GETFL) & O_NONBLOCK), "the duplicate");
  CHECK(fcntl(slave, F_SETFL, 0) == 0, "F_SETFL");

  pass(raw, slave, "to the slave", "to the slave");
  pass(same, raw, "to the master\n", "to the master\n");

  CHECK(ioctl(mine, TIOCGSID, &packets) == 0 && packets == getpid(), "the session");
  CHECK(ioctl(mine, TIOCGPGRP, &packets) == 0 && packets == getpgrp(), "the foreground group");
  int control = open("/dev/tty", O_RDWR);
  CHECK(control >= 0 && number_of(own) == numbers[3], "/dev/tty: errno %d", errno);
  CHECK(write(own, "typed\177x\n", 8) == 8, "write to the master");
  struct pollfd ready = {control, POLLIN, 0};
  char line[16] = "";
  CHECK(poll(&ready, 1, 10000) == 1 && read(control, line, sizeof line) == 6, "the line");
  CHECK(write(own, "\003", 1) == 1 && wait_for(&interrupts) == 1, "^C");
  size.ws_row = 50;
  CHECK(ioctl(own, TIOCSWINSZ, &size) == 0 && wait_for(&resizes) == 1, "SIGWINCH");
  say("ok\n");
  return 0;
}
