/*
 * A ring of io_uring(7) that cannot be saved: `odd-rings WHAT`. It says ready, or "skip" and why where the kernel has no such thing; and
 * ok if the ring works as before when it is told to go on.
 */
#include "ring.h"
#include <pthread.h>
#include <sys/uio.h>

static const char *what;

static int is(const char *name) { return strcmp(what, name) == 0; }

static void enroll(struct ring *r, unsigned operation, void *argument, unsigned count) {
  long result = syscall(SYS_io_uring_register, r->fd, operation, argument, count);
  CHECK(result >= 0, "io_uring_register(%u): errno %d", operation, errno);
}

static struct ring ring;

static void *make_there(void *nothing) {
  ring = make(4, 0, IORING_SETUP_SINGLE_ISSUER);
  say("ready\n");
  wait_for_go();
  nothings(&ring, 9);
  return nothing;
}

static unsigned kind(void) {
  if (is("polled")) return IORING_SETUP_SQPOLL;
  if (is("polling")) return IORING_SETUP_IOPOLL;
  if (is("disabled") || is("restricted")) return IORING_SETUP_R_DISABLED;
  return 0;
}

static void make_odd(void) {
  if (is("restricted")) {
    struct io_uring_restriction only = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP};
    enroll(&ring, IORING_REGISTER_RESTRICTIONS, &only, 1);
    enroll(&ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
  } else if (is("credentials")) {
    enroll(&ring, IORING_REGISTER_PERSONALITY, NULL, 0);
  } else if (is("chosen buffers")) {
    void *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg buffers = {.ring_addr = (unsigned long)area, .ring_entries = 8};
    enroll(&ring, IORING_REGISTER_PBUF_RING, &buffers, 1);
  } else if (is("a closed file")) {
    int file = open("/dev/null", O_RDONLY);
    enroll(&ring, IORING_REGISTER_FILES, &file, 1);
    close(file);
  } else if (is("itself")) {
    struct io_uring_rsrc_update own = {.offset = -1u, .data = (unsigned)ring.fd};
    enroll(&ring, IORING_REGISTER_RING_FDS, &own, 1);
  } else if (is("a request")) {
    static struct __kernel_timespec never = {.tv_sec = 3600};
    struct io_uring_sqe *sqe = next(&ring, IORING_OP_TIMEOUT, 5);
    sqe->addr = (unsigned long)&never;
    sqe->len = 1;
    hand_in(&ring, 1, 0);
  } else if (is("a poll")) {
    struct io_uring_sqe *sqe = next(&ring, IORING_OP_POLL_ADD, 5);
    static int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0, "pipe: errno %d", errno);
    sqe->fd = ends[0];
    sqe->poll32_events = 1;
    hand_in(&ring, 1, 0);
  } else if (is("overflow")) {
    for (int i = 0; i < 12; i++) {
      next(&ring, IORING_OP_NOP, i);
      hand_in(&ring, 1, 0);
    }
  } else if (is("closed")) {
    close(ring.fd);
  } else if (is("hidden")) {
    /* What is mapped shows it, as what is open does: the ring is reached by its index only. */
    struct io_uring_rsrc_update mine = {.offset = -1U, .data = (__u64)ring.fd};
    struct io_uring_params plain = {0};
    int other = (int)syscall(SYS_io_uring_setup, 4, &plain);
    CHECK(other >= 0, "io_uring_setup: errno %d", errno);
    mine.data = (__u64)other;
    CHECK(syscall(SYS_io_uring_register, other, IORING_REGISTER_RING_FDS, &mine, 1) == 1, "the ring's own index: errno %d", errno);
    close(other);
  }
}

/* What it was waiting for still comes. */
static void check_odd(void) {
  if (is("a request") || is("a poll")) {
    struct io_uring_sqe *sqe = next(&ring, is("a poll") ? IORING_OP_POLL_REMOVE : IORING_OP_TIMEOUT_REMOVE, 6);
    sqe->addr = 5;
    hand_in(&ring, 1, 2);
    unsigned found = 0;
    for (int i = 0; i < 2; i++) {
      struct io_uring_cqe *cqe = (void *)(ring.cqes + (ring.cq_head & (ring.cq_entries - 1)) * ring.cqe_size);
      found |= cqe->user_data == 5 ? cqe->res == -ECANCELED : cqe->res == 0 ? 2 : 0;
      ring.cq_head++;
      __atomic_store_n(ring.kernel_cq_head, ring.cq_head, __ATOMIC_RELEASE);
    }
    CHECK(found == 3, "the request and its removal: %u", found);
  } else if (is("overflow")) {
    for (int i = 0; i < 8; i++) expect(&ring, i, 0);
    hand_in(&ring, 0, 1);
    for (int i = 8; i < 12; i++) expect(&ring, i, 0);
  }
  if (!is("polled") && !is("polling") && !is("disabled") && !is("closed")) nothings(&ring, 9);
}

int main(int count, char **arguments) {
  what = count > 1 ? arguments[1] : "";
  if (is("another thread")) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, make_there, NULL) == 0 && pthread_join(thread, NULL) == 0, "a thread");
  } else {
    ring = make(4, 0, kind());
    make_odd();
    say("ready\n");
    wait_for_go();
    check_odd();
  }
  say("ok\n");
  return 0;
}
