/* Five hundred threads hand a token round. The argument is the number of rounds. */
#include "self-check.h"
#include <pthread.h>

enum { MEMBERS = 500 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t mine[MEMBERS];
static long turn, limit;
static unsigned long hash = 1;

static void *member(void *number) {
  long me = (long)number;
  pthread_mutex_lock(&lock);
  while (turn < limit) {
    if (turn % MEMBERS != me) {
      pthread_cond_wait(&mine[me], &lock);
      continue;
    }
    hash = hash * 6364136223846793005UL + (unsigned long)me;
    turn++;
    pthread_cond_signal(&mine[turn % MEMBERS]);
  }
  for (int i = 0; i < MEMBERS; i++) pthread_cond_signal(&mine[i]);
  pthread_mutex_unlock(&lock);
  return NULL;
}

int main(int count, char **arguments) {
  static pthread_t threads[MEMBERS];
  pthread_attr_t small;
  limit = (count > 1 ? atol(arguments[1]) : 10) * MEMBERS;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  for (int i = 0; i < MEMBERS; i++) pthread_cond_init(&mine[i], NULL);
  for (long i = 0; i < MEMBERS; i++) CHECK(pthread_create(&threads[i], &small, member, (void *)i) == 0, "pthread_create");
  for (int i = 0; i < MEMBERS; i++) pthread_join(threads[i], NULL);
  char text[64];
  snprintf(text, sizeof text, "%ld %lu\n", turn, hash);
  say(text);
  return 0;
}
