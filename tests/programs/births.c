/* Threads are born and end all the time. */
#include "self-check.h"
#include <pthread.h>

static void *short_life(void *number) { return (void *)((long)number * 3); }

int main(void) {
  say("ready\n");
  long born = 0;
  while (!may_go()) {
    pthread_t threads[8];
    for (long i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, short_life, (void *)(born + i)) == 0, "pthread_create");
    for (long i = 0; i < 8; i++) {
      void *result;
      CHECK(pthread_join(threads[i], &result) == 0, "pthread_join");
      CHECK((long)result == (born + i) * 3, "thread %ld returned %ld", born + i, (long)result);
    }
    born += 8;
    CHECK(born < 200000000, "nobody told me to go on");
  }
  say("ok\n");
  return 0;
}
