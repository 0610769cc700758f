/* A ring of io_uring(7) without a library. */
#ifndef RING_H
#define RING_H
#include "self-check.h"
#include <linux/io_uring.h>
#include <sys/syscall.h>

/* Younger than the headers of some systems. */
#define DEFER_TASKRUN (1u << 13)
#define NO_SQARRAY (1u << 16)

/* The counters are the program's own, as those of liburing are: they must go on where the kernel's do. */
struct ring {
  int fd;
  unsigned setup, sq_entries, cq_entries, sq_tail, cq_head, sqe_size, cqe_size;
  unsigned *kernel_sq_head, *kernel_sq_tail, *kernel_cq_head, *kernel_cq_tail, *array;
  char *memory, *sqes, *cqes;
  size_t memory_size;
};

__attribute__((unused)) static struct ring make(unsigned entries, unsigned cq_entries, unsigned setup) {
  struct io_uring_params p = {.flags = setup, .cq_entries = cq_entries};
  struct ring r = {.fd = (int)syscall(SYS_io_uring_setup, entries, &p), .setup = setup};
  CHECK(r.fd >= 0, "io_uring_setup(%u, %x): errno %d", entries, setup, errno);
  r.sq_entries = p.sq_entries;
  r.cq_entries = p.cq_entries;
  r.sqe_size = setup & IORING_SETUP_SQE128 ? 128 : 64;
  r.cqe_size = setup & IORING_SETUP_CQE32 ? 32 : 16;
  size_t end = p.cq_off.cqes + (size_t)p.cq_entries * r.cqe_size;
  if (!(setup & NO_SQARRAY)) end = p.sq_off.array + (size_t)p.sq_entries * 4;
  r.memory_size = end;
  r.memory = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQ_RING);
  r.sqes = mmap(NULL, (size_t)p.sq_entries * r.sqe_size, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_SQES);
  CHECK(r.memory != MAP_FAILED && r.sqes != MAP_FAILED, "mmap: errno %d", errno);
  r.kernel_sq_head = (unsigned *)(r.memory + p.sq_off.head);
  r.kernel_sq_tail = (unsigned *)(r.memory + p.sq_off.tail);
  r.kernel_cq_head = (unsigned *)(r.memory + p.cq_off.head);
  r.kernel_cq_tail = (unsigned *)(r.memory + p.cq_off.tail);
  r.cqes = r.memory + p.cq_off.cqes;
  r.array = setup & NO_SQARRAY ? NULL : (unsigned *)(r.memory + p.sq_off.array);
  return r;
}

/* A submission that is not handed in yet. */
__attribute__((unused)) static struct io_uring_sqe *next(struct ring *r, int opcode, unsigned long long data) {
  CHECK(r->sq_tail - __atomic_load_n(r->kernel_sq_head, __ATOMIC_ACQUIRE) < r->sq_entries, "the queue is full");
  unsigned slot = r->sq_tail & (r->sq_entries - 1);
  if (r->array != NULL) r->array[slot] = slot;
  struct io_uring_sqe *sqe = (void *)(r->sqes + slot * r->sqe_size);
  memset(sqe, 0, r->sqe_size);
  sqe->opcode = opcode;
  sqe->user_data = data;
  r->sq_tail++;
  return sqe;
}

__attribute__((unused)) static void hand_in(struct ring *r, unsigned count, unsigned wait_for) {
  __atomic_store_n(r->kernel_sq_tail, r->sq_tail, __ATOMIC_RELEASE);
  int flags = wait_for > 0 || r->setup & DEFER_TASKRUN ? IORING_ENTER_GETEVENTS : 0;
  long taken = syscall(SYS_io_uring_enter, r->fd, count, wait_for, flags, NULL, 0);
  CHECK(taken == (long)count, "io_uring_enter took %ld of %u: errno %d", taken, count, errno);
  CHECK(*r->kernel_sq_head == r->sq_tail, "the kernel is at %u, not at %u", *r->kernel_sq_head, r->sq_tail);
}

__attribute__((unused)) static void expect(struct ring *r, unsigned long long data, int result) {
  unsigned tail = __atomic_load_n(r->kernel_cq_tail, __ATOMIC_ACQUIRE);
  CHECK(tail != r->cq_head, "no completion behind %u", tail);
  struct io_uring_cqe *cqe = (void *)(r->cqes + (r->cq_head & (r->cq_entries - 1)) * r->cqe_size);
  CHECK(cqe->user_data == data, "the completion of %llu, not of %llu", (unsigned long long)cqe->user_data, data);
  CHECK(cqe->res == result, "request %llu: %d, not %d", data, cqe->res, result);
  r->cq_head++;
  __atomic_store_n(r->kernel_cq_head, r->cq_head, __ATOMIC_RELEASE);
}

__attribute__((unused)) static void nothings(struct ring *r, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    next(r, IORING_OP_NOP, i);
    hand_in(r, 1, 0);
    expect(r, i, 0);
  }
}
#endif
