/* Rings of io_uring(7) in which no request is in flight: their counters, what waits in their queues, and what is registered with them. */
#include "ring.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* A thread that waits for a completion that another ring sends to it. */
static struct ring waited;

static void *wait_there(void *nothing) {
  long result = syscall(SYS_io_uring_enter, waited.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
  CHECK(result == 0, "waiting for a completion: %ld, errno %d", result, errno);
  return nothing;
}

#define BUFFER 8192
static char buffer[BUFFER] __attribute__((aligned(4096)));

int main(void) {
  struct ring plain = make(8, 0, 0);
  nothings(&plain, 1003);
  next(&plain, IORING_OP_NOP, 71);
  next(&plain, IORING_OP_NOP, 72);
  hand_in(&plain, 2, 0);
  next(&plain, IORING_OP_NOP, 81);
  next(&plain, IORING_OP_NOP, 82);
  next(&plain, IORING_OP_NOP, 83);

  struct ring own = make(4, 64, IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | DEFER_TASKRUN | NO_SQARRAY | IORING_SETUP_SUBMIT_ALL);
  nothings(&own, 21);
  for (int i = 0; i < 5; i++) {
    next(&own, IORING_OP_NOP, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
    hand_in(&own, 1, 0);
  }
  int text = open("rings-text", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(text, "what is in the file", 19) == 19, "write: errno %d", errno);
  int files[3] = {-1, text, -1};
  CHECK(syscall(SYS_io_uring_register, own.fd, IORING_REGISTER_FILES, files, 3) == 0, "files: errno %d", errno);
  struct iovec areas[2] = {{NULL, 0}, {buffer + 4096, 4096}};
  CHECK(syscall(SYS_io_uring_register, own.fd, IORING_REGISTER_BUFFERS, areas, 2) == 0, "buffers: errno %d", errno);
  memcpy(buffer, "before the buffer", 18);
  int told = eventfd(0, EFD_NONBLOCK);
  CHECK(syscall(SYS_io_uring_register, own.fd, IORING_REGISTER_EVENTFD, &told, 1) == 0, "eventfd: errno %d", errno);

  struct ring wide = make(16, 0, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
  nothings(&wide, 40);
  int same = fcntl(wide.fd, F_DUPFD_CLOEXEC, 100);
  void *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, wide.fd, IORING_OFF_SQ_RING);
  CHECK(same == 100 && again != MAP_FAILED, "a second mapping: errno %d", errno);

  /* A worker of the kernel's stays behind, as a thread that is none of ours. */
  struct ring worked = make(4, 0, 0);
  struct io_uring_sqe *sqe = next(&worked, IORING_OP_READ, 5);
  sqe->fd = text;
  sqe->addr = (unsigned long)buffer;
  sqe->len = 4;
  sqe->flags = IOSQE_ASYNC;
  hand_in(&worked, 1, 1);
  expect(&worked, 5, 4);

  waited = make(4, 0, 0);
  pthread_t waiter;
  CHECK(pthread_create(&waiter, NULL, wait_there, NULL) == 0, "pthread_create");

  /* A child has its parent's ring too. */
  struct ring shared = make(4, 0, 0);
  nothings(&shared, 7);
  pid_t child = fork();
  if (child == 0) {
    wait_for_go();
    nothings(&shared, 9);
    _exit(shared.sq_tail == 16 ? 7 : 8);
  }

  say("ready\n");
  wait_for_go();

  expect(&plain, 71, 0);
  expect(&plain, 72, 0);
  hand_in(&plain, 3, 0);
  for (int i = 81; i <= 83; i++) expect(&plain, i, 0);
  nothings(&plain, 20);
  CHECK(plain.sq_tail == 1003 + 5 + 20 && plain.cq_head == plain.sq_tail, "counters %u and %u", plain.sq_tail, plain.cq_head);

  CHECK(strcmp(buffer, "whatre the buffer") == 0, "the page before the buffer: %s", buffer);
  sqe = next(&own, IORING_OP_READ_FIXED, 9);
  sqe->fd = 1;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->addr = (unsigned long)(buffer + 4096);
  sqe->len = 19;
  sqe->buf_index = 1;
  hand_in(&own, 1, 1);
  expect(&own, 9, 19);
  CHECK(memcmp(buffer + 4096, "what is in the file", 19) == 0, "what was read: %.19s", buffer + 4096);
  eventfd_t times = 0;
  CHECK(eventfd_read(told, &times) == 0 && times >= 1, "told %llu times of a completion", (unsigned long long)times);
  sqe = next(&own, IORING_OP_FSYNC, 10);
  sqe->fd = 0;
  sqe->flags = IOSQE_FIXED_FILE;
  hand_in(&own, 1, 1);
  expect(&own, 10, -EBADF);
  CHECK(own.sq_tail == 21 + 5 + 2 && own.cq_head == 21 + 2, "counters %u and %u", own.sq_tail, own.cq_head);

  nothings(&wide, 40);
  CHECK(memcmp(again, wide.memory, 64) == 0, "the second mapping is of something else");
  CHECK(close(wide.fd) == 0, "close");
  wide.fd = same;
  nothings(&wide, 1);
  CHECK(fcntl(same, F_GETFD) == FD_CLOEXEC, "the flags of descriptor 100");
  nothings(&worked, 5);

  sqe = next(&plain, IORING_OP_MSG_RING, 30);
  sqe->fd = waited.fd;
  sqe->off = 4711;
  sqe->len = 12;
  hand_in(&plain, 1, 1);
  CHECK(pthread_join(waiter, NULL) == 0, "pthread_join");
  expect(&waited, 4711, 12);

  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child: %x", status);
  CHECK(*shared.kernel_sq_head == 16 && *shared.kernel_cq_tail == 16, "the shared ring: %u", *shared.kernel_sq_head);
  say("ok\n");
  return 0;
}
