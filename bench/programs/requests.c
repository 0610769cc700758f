/* `requests serve`: answers every byte with a byte, says "ready PORT". `requests ask PORT`: asks again and again, a byte at a time, and says on SIGUSR1
 * how long the longest request since the last one took, in ns. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void on_signal(int number) {
  (void)number;
  asked = 1;
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int fail(const char *what) {
  perror(what);
  return 1;
}

static int serve(int listener, struct sockaddr_in *own) {
  socklen_t length = sizeof *own;
  if (bind(listener, (struct sockaddr *)own, length) != 0 || listen(listener, 1) != 0) return fail("listen");
  if (getsockname(listener, (struct sockaddr *)own, &length) != 0) return fail("getsockname");
  printf("ready %d\n", ntohs(own->sin_port)), fflush(stdout);
  int client = accept(listener, NULL, NULL);
  char byte;
  while (recv(client, &byte, 1, 0) == 1) send(client, &byte, 1, 0);
  return 0;
}

static int ask(int socket, const struct sockaddr_in *server) {
  int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  if (connect(socket, (const struct sockaddr *)server, sizeof *server) != 0) return fail("connect");
  printf("ready\n"), fflush(stdout);
  for (long long longest = 0;;) {
    long long begin = now();
    char byte = 'x';
    if (send(socket, &byte, 1, 0) != 1 || recv(socket, &byte, 1, 0) != 1) return fail("a request");
    long long took = now() - begin;
    if (took > longest) longest = took;
    if (asked) {
      asked = 0, printf("%lld\n", longest), fflush(stdout);
      longest = 0;
    }
    /* Two on one processor would keep each other, and whoever saves, waiting. */
    usleep(200);
  }
}

int main(int count, char **words) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (count == 2 && strcmp(words[1], "serve") == 0) return serve(fd, &server);
  if (count != 3) return fail("usage: requests serve | ask PORT");
  server.sin_port = htons((unsigned short)atoi(words[2]));
  return ask(fd, &server);
}
