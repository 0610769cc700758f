/*
 * System V semaphores and message queues of a process and its child: a number goes to and fro between them, guarded by semaphores; a queue in which
 * messages of several types wait, and an empty one; sets with a key and without, of which a semaphore was never used. With an argument the
 * program removes nothing at its end.
 */
#include "self-check.h"

#include <signal.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/wait.h>

#define KEY (0x51540000 + (getpid() & 0xffff))
#define SEMAPHORES 5
#define WAITING 3

union argument {
  int value;
  struct semid_ds *set;
  unsigned short *values;
};

struct note {
  long type;
  char text[64];
};

enum { THERE, BACK, COUNTER };

static int turns, guards, kept, post;

static void change(int set, int index, int by) {
  struct sembuf operation = {(unsigned short)index, (short)by, 0};
  while (semop(set, &operation, 1) != 0) CHECK(errno == EINTR, "semop: errno %d", errno);
}

static int value_of(int set, int index) {
  int value = semctl(set, index, GETVAL);
  CHECK(value >= 0, "GETVAL: errno %d", errno);
  return value;
}

static void send_note(int queue, long type, const char *text, size_t length) {
  struct note note = {.type = type};
  memcpy(note.text, text, length);
  CHECK(msgsnd(queue, &note, length, IPC_NOWAIT) == 0, "msgsnd: errno %d", errno);
}

static void expect_note(int queue, long type, const char *text, size_t length) {
  struct note note;
  ssize_t got = msgrcv(queue, &note, sizeof note.text, type, IPC_NOWAIT);
  CHECK(got == (ssize_t)length && memcmp(note.text, text, length) == 0, "a message of type %ld has %zd bytes, errno %d", type, got, errno);
}

/* The child adds one to what comes, and sends it back. */
static void be_child(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    struct {
      long type;
      uint32_t number;
    } message;
    while (msgrcv(turns, &message, sizeof message.number, THERE + 1, 0) < 0) CHECK(errno == EINTR, "the child's msgrcv: errno %d", errno);
    message.number++;
    message.type = BACK + 1;
    change(guards, COUNTER, 1);
    CHECK(msgsnd(turns, &message, sizeof message.number, 0) == 0, "the child's msgsnd: errno %d", errno);
  }
}

static void take_a_turn(uint32_t number) {
  struct {
    long type;
    uint32_t number;
  } message = {THERE + 1, number};
  CHECK(msgsnd(turns, &message, sizeof message.number, 0) == 0, "msgsnd: errno %d", errno);
  while (msgrcv(turns, &message, sizeof message.number, BACK + 1, 0) < 0) CHECK(errno == EINTR, "msgrcv: errno %d", errno);
  CHECK(message.number == number + 1, "%u came back for %u", message.number, number);
  change(guards, COUNTER, -1);
}

int main(int count, char **arguments) {
  (void)arguments;
  turns = msgget(IPC_PRIVATE, 0600);
  post = msgget(KEY, IPC_CREAT | IPC_EXCL | 0640);
  guards = semget(IPC_PRIVATE, SEMAPHORES, 0600);
  kept = semget(KEY, SEMAPHORES, IPC_CREAT | IPC_EXCL | 0660);
  CHECK(turns >= 0 && post >= 0 && guards >= 0 && kept >= 0, "errno %d", errno);
  unsigned short start[SEMAPHORES] = {0, 0, 0, 9, 0};
  CHECK(semctl(guards, 0, SETALL, (union argument){.values = start}) == 0, "SETALL: errno %d", errno);
  for (int i = 1; i < SEMAPHORES; i++) change(kept, i, 10 * i);
  send_note(post, 7, "seven", 5);
  send_note(post, 1, "", 0);
  send_note(post, 7, "seven again", 11);
  pid_t child = fork();
  CHECK(child >= 0, "fork: errno %d", errno);
  if (child == 0) be_child();
  take_a_turn(1);
  say("ready\n");
  for (uint32_t number = 2; !may_go(); number++) {
    take_a_turn(number);
    usleep(1000);
  }
  CHECK(value_of(guards, 3) == 9 && value_of(guards, COUNTER) == 0, "the guards have %d and %d", value_of(guards, 3), value_of(guards, COUNTER));
  CHECK(value_of(kept, 0) == 0, "a semaphore that was never used has %d", value_of(kept, 0));
  for (int i = 1; i < SEMAPHORES; i++) CHECK(value_of(kept, i) == 10 * i, "semaphore %d has %d", i, value_of(kept, i));
  struct msqid_ds about;
  struct semid_ds about_set;
  CHECK(msgctl(post, IPC_STAT, &about) == 0 && about.msg_qnum == WAITING && about.msg_qbytes > 0, "%lu messages wait, errno %d",
        (unsigned long)about.msg_qnum, errno);
  CHECK((about.msg_perm.mode & 0777) == 0640 && msgget(KEY, 0) == post, "the queue has mode %o", about.msg_perm.mode);
  CHECK(semctl(kept, 0, IPC_STAT, (union argument){.set = &about_set}) == 0 && (about_set.sem_perm.mode & 0777) == 0660, "the set has mode %o",
        about_set.sem_perm.mode);
  CHECK(semget(KEY, 0, 0) == kept, "the key is no longer that of the set");
  expect_note(post, 7, "seven", 5);
  expect_note(post, 7, "seven again", 11);
  expect_note(post, 0, "", 0);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child, "the child: errno %d", errno);
  if (count == 1) {
    CHECK(msgctl(turns, IPC_RMID, NULL) == 0 && msgctl(post, IPC_RMID, NULL) == 0, "IPC_RMID: errno %d", errno);
    CHECK(semctl(guards, 0, IPC_RMID) == 0 && semctl(kept, 0, IPC_RMID) == 0, "IPC_RMID: errno %d", errno);
  }
  say("ok\n");
}
