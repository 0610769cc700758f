/* A tight loop without any system call; prints what it has computed. The argument is the number of rounds in millions. */
#include "self-check.h"

int main(int count, char **arguments) {
  unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) * 1000000UL : 1000000UL;
  double sum = 1;
  unsigned long hash = 88172645463325252UL;
  for (unsigned long i = 0; i < rounds; i++) {
    hash ^= hash << 13;
    hash ^= hash >> 7;
    hash ^= hash << 17;
    sum = sum * 1.0000001 + (double)(hash & 7);
    if (sum > 1e12) sum /= 3;
  }
  char text[128];
  snprintf(text, sizeof text, "%lu %.17g\n", hash, sum);
  say(text);
  return 0;
}
