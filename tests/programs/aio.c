/* Asynchronous I/O of the kernel's own (io_setup(2)): answers that wait, the room that is left, a ring that was moved, and a thread that waits for an answer. */
#include "self-check.h"
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

struct ring {
  unsigned id, slots, head, tail, magic, compat, incompat, header;
  struct io_event events[];
};

static aio_context_t set_up(unsigned requests) {
  aio_context_t made = 0;
  CHECK(syscall(SYS_io_setup, requests, &made) == 0, "io_setup: errno %d", errno);
  return made;
}

static int hand_in(aio_context_t where, int operation, int fd, void *buffer, size_t bytes, unsigned long long data, int told) {
  struct iocb one = {.aio_data = data, .aio_lio_opcode = (unsigned short)operation, .aio_fildes = (unsigned)fd};
  one.aio_buf = (unsigned long)buffer;
  one.aio_nbytes = bytes;
  if (told >= 0) {
    one.aio_flags = IOCB_FLAG_RESFD;
    one.aio_resfd = (unsigned)told;
  }
  struct iocb *list[] = {&one};
  return (int)syscall(SYS_io_submit, where, 1, list);
}

static void expect(aio_context_t where, unsigned long long data, long long result) {
  struct io_event event;
  long got = syscall(SYS_io_getevents, where, 1, 1, &event, NULL);
  CHECK(got == 1, "io_getevents: %ld, errno %d", got, errno);
  CHECK(event.data == data && event.res == result, "answer %llu: %lld, not %llu: %lld", event.data, event.res, data, result);
}

static void none_left(aio_context_t where) {
  struct io_event event;
  struct timespec at_once = {0, 0};
  CHECK(syscall(SYS_io_getevents, where, 0, 1, &event, &at_once) == 0, "an answer too many: %llu", event.data);
}

static int empty[2];

/* How many more requests it takes: at least what it was asked for, as each processor sets some aside for itself. */
static int room_of(aio_context_t where) {
  int taken = 0;
  while (hand_in(where, IOCB_CMD_POLL, empty[0], (void *)1, 0, 1000 + (unsigned)taken, -1) == 1) taken++;
  CHECK(errno == EAGAIN, "io_submit: errno %d", errno);
  return taken;
}

static void free_room(aio_context_t where, int taken) {
  char byte;
  CHECK(write(empty[1], "x", 1) == 1, "write: errno %d", errno);
  for (int i = 0; i < taken; i++) {
    struct io_event event;
    CHECK(syscall(SYS_io_getevents, where, 1, 1, &event, NULL) == 1, "io_getevents: errno %d", errno);
    CHECK(event.data >= 1000 && (event.res & 1) != 0, "a poll answers %lld", event.res);
  }
  CHECK(read(empty[0], &byte, 1) == 1, "read: errno %d", errno);
}

static aio_context_t waited;

static void *wait_there(void *nothing) {
  expect(waited, 5, 4);
  return nothing;
}

int main(void) {
  char text[16];
  int file = open("aio-text", O_RDWR | O_CREAT | O_TRUNC, 0600), told = eventfd(0, EFD_NONBLOCK);
  CHECK(write(file, "what is in the file", 19) == 19 && pipe(empty) == 0, "a file and a pipe: errno %d", errno);

  aio_context_t fresh = set_up(20), used = set_up(50), few = set_up(1);
  struct ring *ring = (struct ring *)used;
  /* Once around, so that the answers that wait are at both ends of the ring. */
  int places = (int)ring->slots - 7;
  for (int i = 0; i < places; i++) {
    CHECK(hand_in(used, IOCB_CMD_PREAD, file, text, 4, 1, -1) == 1, "io_submit: errno %d", errno);
    expect(used, 1, 4);
  }
  for (int i = 0; i < 20; i++) {
    CHECK(hand_in(used, IOCB_CMD_PREAD, file, text, (size_t)i % 9, 100 + (unsigned)i, told) == 1, "io_submit: errno %d", errno);
  }
  expect(used, 100, 0);
  expect(used, 101, 1);
  CHECK(ring->tail == 13 && (int)ring->head == places + 2, "the ring is at %u and %u", ring->head, ring->tail);

  waited = set_up(10);
  void *elsewhere = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mremap((void *)waited, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere, "mremap: errno %d", errno);
  waited = (aio_context_t)elsewhere;
  pthread_t waiter;
  CHECK(pthread_create(&waiter, NULL, wait_there, NULL) == 0, "pthread_create");

  say("ready\n");
  wait_for_go();

  none_left(fresh);
  int room = room_of(fresh);
  CHECK(room >= 20 && room < (int)((struct ring *)fresh)->slots, "room for %d in a ring of %u", room, ((struct ring *)fresh)->slots);
  free_room(fresh, room);

  CHECK(ring->tail == 13 && (int)ring->head == places + 2, "the ring is at %u and %u now", ring->head, ring->tail);
  int rest = room_of(used);
  CHECK(rest >= 50 - 18 && rest <= (int)ring->slots - 1 - 18, "room for %d beside 18 answers in a ring of %u", rest, ring->slots);
  for (int i = 2; i < 20; i++) expect(used, 100 + (unsigned)i, i % 9);
  free_room(used, rest);
  none_left(used);
  eventfd_t count;
  CHECK(eventfd_read(told, &count) == 0 && count == 20, "told %llu times", (unsigned long long)count);
  CHECK(hand_in(few, IOCB_CMD_PREAD, file, text, 7, 9, told) == 1, "io_submit: errno %d", errno);
  expect(few, 9, 7);
  CHECK(memcmp(text, "what is", 7) == 0 && eventfd_read(told, &count) == 0 && count == 1, "a read after it");

  CHECK(hand_in(waited, IOCB_CMD_PREAD, file, text, 4, 5, -1) == 1, "io_submit: errno %d", errno);
  CHECK(pthread_join(waiter, NULL) == 0, "pthread_join");
  CHECK(syscall(SYS_io_destroy, used) == 0 && syscall(SYS_io_destroy, waited) == 0, "io_destroy: errno %d", errno);
  check_ballast();
  say("ok\n");
  return 0;
}
