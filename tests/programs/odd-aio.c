/* Asynchronous I/O that cannot be saved. The argument: "busy", a request that is not answered; "forked", a child has its parent's ring, which is none of its own. */
#include "self-check.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(int count, char **arguments) {
  int busy = count > 1 && strcmp(arguments[1], "busy") == 0, ends[2];
  aio_context_t made = 0;
  CHECK(syscall(SYS_io_setup, 5, &made) == 0 && pipe(ends) == 0, "io_setup: errno %d", errno);
  struct iocb one = {.aio_data = 7, .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)ends[0], .aio_buf = 1};
  struct iocb *list[] = {&one};
  if (busy) CHECK(syscall(SYS_io_submit, made, 1, list) == 1, "io_submit: errno %d", errno);
  pid_t child = busy ? 0 : fork();
  if (!busy && child == 0) {
    wait_for_go();
    _exit(0);
  }
  say("ready\n");
  wait_for_go();
  struct io_event event;
  if (busy) {
    CHECK(write(ends[1], "x", 1) == 1, "write: errno %d", errno);
    CHECK(syscall(SYS_io_getevents, made, 1, 1, &event, NULL) == 1 && event.data == 7, "io_getevents: errno %d", errno);
  } else {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d", status);
  }
  say("ok\n");
  return 0;
}
