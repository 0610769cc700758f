/* What waits in pseudo-terminals: typed in part, typed whole, shown, stopped. Both ends are in one process: termios(3), ioctl_tty(2). */
#include "self-check.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#define LONG 6000
#define MUCH 11000

struct pair {
  int master, slave;
};

static struct pair new_pair(int raw) {
  struct pair made;
  char path[64];
  int number = -1, lock = 0;
  made.master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  CHECK(made.master >= 0 && ioctl(made.master, TIOCGPTN, &number) == 0, "/dev/ptmx: errno %d", errno);
  CHECK(ioctl(made.master, TIOCSPTLCK, &lock) == 0, "TIOCSPTLCK");
  snprintf(path, sizeof path, "/dev/pts/%d", number);
  made.slave = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
  CHECK(made.slave >= 0, "%s: errno %d", path, errno);
  struct termios settings;
  CHECK(tcgetattr(made.slave, &settings) == 0, "tcgetattr");
  if (raw) cfmakeraw(&settings);
  else settings.c_oflag &= ~OPOST;
  CHECK(tcsetattr(made.slave, TCSANOW, &settings) == 0, "tcsetattr");
  return made;
}

/* The queue takes what it has room for a moment later. */
static void put(int end, const char *bytes, size_t length) {
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < 10000 && length > 0; i++) {
    ssize_t written = write(end, bytes, length);
    CHECK(written >= 0 || errno == EAGAIN, "write: errno %d", errno);
    if (written <= 0) nanosleep(&moment, NULL);
    else bytes += written, length -= (size_t)written;
  }
  CHECK(length == 0, "%zu bytes have no room", length);
}

static void type(struct pair pair, const char *text) { put(pair.master, text, strlen(text)); }

static ssize_t take(int end, char *into, size_t room) {
  struct pollfd ready = {end, POLLIN, 0};
  CHECK(poll(&ready, 1, 10000) == 1, "nothing comes of %d", end);
  return read(end, into, room);
}

static void expect(int end, const char *what, const char *bytes, size_t length) {
  char got[MUCH + 1] = "";
  size_t have = 0;
  do {
    ssize_t more = take(end, got + have, length - have);
    CHECK(more > 0 || length == 0, "%s: %zd, errno %d", what, more, errno);
    have += (size_t)more;
  } while (have < length);
  CHECK(memcmp(got, bytes, length) == 0, "%s is %.*s", what, (int)have, got);
}

static void expect_text(int end, const char *what, const char *text) { expect(end, what, text, strlen(text)); }

static void expect_nothing(int end, const char *what) {
  char byte;
  struct pollfd ready = {end, POLLIN, 0};
  CHECK(poll(&ready, 1, 0) == 0 && read(end, &byte, 1) == -1 && errno == EAGAIN, "%s: there is more", what);
}

/* What is stopped takes nothing, and tells so. */
static int takes(int end) {
  struct pollfd ready = {end, POLLOUT, 0};
  return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT);
}

static void await_stop(int end, int stopped) {
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < 10000 && takes(end) == stopped; i++) nanosleep(&moment, NULL);
  CHECK(takes(end) == !stopped, "the output is not %s", stopped ? "stopped" : "started");
}

static char many[MUCH];

int main(void) {
  for (int i = 0; i < MUCH; i++) many[i] = (char)(i * 7 + i / 251);

  struct pair part = new_pair(0), lines = new_pair(0), quoted = new_pair(0), raw = new_pair(1), shown = new_pair(0);
  struct pair stopped = new_pair(0), held = new_pair(0);
  /* An erased character, a literal ^C, LF and ^Q. The echo is read. */
  type(part, "halx\177f \026\003\026\n\026\021a li");
  expect_text(part.master, "the echo of a part", "halx\b \bf ^\b^C^\b^J^\b^Qa li");
  expect_nothing(part.master, "the echo of a part");
  /* A line, an end of file, and a part; nobody has read any echo. */
  type(lines, "one\n\004tw");
  /* The next character will be taken as it is. */
  type(quoted, "a\026");
  expect_text(quoted.master, "the echo of ^V", "a^\b");
  /* More than the queue has room for. */
  put(raw.master, many, LONG);
  put(shown.slave, many, MUCH);
  type(stopped, "\023");
  await_stop(stopped.slave, 1);
  CHECK(tcflow(held.slave, TCOOFF) == 0, "TCOOFF");
  await_stop(held.slave, 1);

  say("ready\n");
  wait_for_go();

  int waits = -1;
  CHECK(ioctl(part.slave, FIONREAD, &waits) == 0 && waits == 0, "%d bytes of a part can be read", waits);
  expect_nothing(part.slave, "the part");
  expect_nothing(part.master, "what was echoed");
  type(part, "ne\177\177\177ine\n");
  expect_text(part.slave, "the line", "half \003\n\021a line\n");
  expect_text(part.master, "the echo of the rest", "ne\b \b\b \b\b \bine\n");

  char got[16];
  expect_text(lines.slave, "the whole line", "one\n");
  CHECK(take(lines.slave, got, sizeof got) == 0, "the end of file");
  expect_nothing(lines.slave, "the lines");
  type(lines, "o\n");
  expect_text(lines.slave, "the second line", "two\n");
  expect_text(lines.master, "the echo that nobody had read", "one\ntwo\n");

  type(quoted, "\003b\n");
  expect_text(quoted.slave, "what was quoted", "a\003b\n");

  expect(raw.slave, "what was typed raw", many, LONG);
  expect_nothing(raw.slave, "what was typed raw");
  expect(shown.master, "what was shown", many, MUCH);
  expect_nothing(shown.master, "what was shown");

  CHECK(!takes(stopped.slave) && !takes(held.slave), "the output that was stopped goes on");
  type(held, "\021");
  type(stopped, "\021");
  await_stop(stopped.slave, 0);
  CHECK(!takes(held.slave), "^Q has started what a call had stopped");
  CHECK(tcflow(held.slave, TCOON) == 0, "TCOON");
  await_stop(held.slave, 0);
  put(stopped.slave, "on", 2);
  expect_text(stopped.master, "the output", "on");
  say("ok\n");
  return 0;
}
