/*
 * Blocks that are larger than a pipe go through one, written by one thread and read by another, in pieces of odd sizes. A stop in the
 * middle of a block may cut it short (signal(7)); each byte must come once, and in its place.
 */
#include "self-check.h"
#include <pthread.h>

enum { BLOCK = 300007, PIECE = 70001 };
static int ends[2];
static volatile int may_end;
static unsigned long short_counts;

/* The byte at a place of the stream. */
static unsigned char byte_at(unsigned long place) { return (unsigned char)(place ^ place >> 8 ^ place >> 16 ^ place >> 24); }

static void *write_blocks(void *total) {
  unsigned long place = 0;
  static unsigned char block[BLOCK];
  while (!may_end) {
    for (unsigned long i = 0; i < BLOCK; i++) block[i] = byte_at(place + i);
    for (unsigned long done = 0; done < BLOCK;) {
      ssize_t count = write(ends[1], block + done, BLOCK - done);
      CHECK(count > 0, "write returned %zd, errno %d", count, errno);
      if (done + (unsigned long)count < BLOCK) short_counts++;
      done += (unsigned long)count;
    }
    place += BLOCK;
  }
  close(ends[1]);
  *(unsigned long *)total = place;
  return NULL;
}

static void *read_pieces(void *total) {
  unsigned long place = 0;
  static unsigned char piece[PIECE];
  struct timespec moment = {0, 1000000};
  for (;;) {
    ssize_t count = read(ends[0], piece, 1 + place % PIECE);
    CHECK(count >= 0, "read: errno %d", errno);
    if (count == 0) break;
    for (ssize_t i = 0; i < count; i++) {
      CHECK(piece[i] == byte_at(place + (unsigned long)i), "byte %lu is another", place + (unsigned long)i);
    }
    place += (unsigned long)count;
    /* The writer waits for room most of the time. */
    if (!may_end) nanosleep(&moment, NULL);
  }
  *(unsigned long *)total = place;
  return NULL;
}

int main(void) {
  pthread_t writer, reader;
  unsigned long written, got;
  CHECK(pipe(ends) == 0, "pipe: errno %d", errno);
  CHECK(pthread_create(&writer, NULL, write_blocks, &written) == 0, "pthread_create");
  CHECK(pthread_create(&reader, NULL, read_pieces, &got) == 0, "pthread_create");
  say("ready\n");
  wait_for_go();
  may_end = 1;
  pthread_join(writer, NULL);
  pthread_join(reader, NULL);
  CHECK(written == got, "%lu bytes were written, %lu were read", written, got);
  char text[64];
  snprintf(text, sizeof text, "short counts %lu\n", short_counts);
  say(text);
  say("ok\n");
  return 0;
}
