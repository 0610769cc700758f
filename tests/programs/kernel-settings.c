/* What a process and its threads have told the kernel about themselves, and the kernel shows nowhere else. */
#include "self-check.h"
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
enum { REFUSE_EXEC_GAIN = 1, EARLY = PR_MCE_KILL_EARLY, NODE_WORDS = 1024 / (8 * sizeof(long)) };

static pthread_barrier_t started;
static int merges, denies, has_policy;

static int speculation(void) { return prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0); }

static int time_stamp_counter(void) {
  int mode = 0;
  CHECK(prctl(PR_GET_TSC, &mode) == 0, "PR_GET_TSC");
  return mode;
}

static int policy(unsigned long *nodes) {
  int mode = -1;
  CHECK(syscall(SYS_get_mempolicy, &mode, nodes, 1024UL, NULL, 0UL) == 0, "get_mempolicy: errno %d", errno);
  return mode;
}

static void *special(void *nothing) {
  CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0, "PR_SET_TSC");
  CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, EARLY, 0, 0) == 0, "PR_MCE_KILL");
  int can_choose = speculation() > 0 && (speculation() & PR_SPEC_PRCTL) && !(speculation() & PR_SPEC_FORCE_DISABLE);
  if (can_choose)
    CHECK(prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0) == 0, "PR_SET_SPECULATION_CTRL");
  unsigned long nodes[NODE_WORDS] = {1};
  has_policy = syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, nodes, 1024UL) == 0;
  pthread_barrier_wait(&started);
  wait_for_go();
  CHECK(time_stamp_counter() == PR_TSC_SIGSEGV, "the time stamp counter may be read");
  CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == EARLY, "the memory error policy");
  CHECK(!can_choose || speculation() == (PR_SPEC_PRCTL | PR_SPEC_DISABLE), "speculation is %d", speculation());
  nodes[0] = 0;
  CHECK(!has_policy || (policy(nodes) == MPOL_INTERLEAVE && nodes[0] == 1), "the memory policy");
  return nothing;
}

/* The VmFlags line of the mapping that begins at this address. */
static void flags_of(void *address, char *flags, size_t size) {
  char begin[32], line[1024];
  int found = 0;
  snprintf(begin, sizeof begin, "%lx-", (unsigned long)address);
  FILE *file = fopen("/proc/self/smaps", "r");
  CHECK(file != NULL, "smaps");
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, begin, strlen(begin)) == 0) found = 1;
    if (!found || strncmp(line, "VmFlags:", 8) != 0) continue;
    snprintf(flags, size, "%s", line);
    break;
  }
  fclose(file);
}

/* The policy of the page at this address, and whether it has node 0. */
static int policy_of(void *page, int *has_node) {
  int mode = -1;
  unsigned long nodes[NODE_WORDS] = {0};
  CHECK(syscall(SYS_get_mempolicy, &mode, nodes, 1024UL, page, MPOL_F_ADDR) == 0, "MPOL_F_ADDR: errno %d", errno);
  *has_node = (int)nodes[0];
  return mode;
}

int main(void) {
  pthread_t thread;
  pthread_barrier_init(&started, NULL, 2);
  CHECK(pthread_create(&thread, NULL, special, NULL) == 0, "pthread_create");
  pthread_barrier_wait(&started);
  CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == -1 && errno == EPERM, "registered already");
  CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0, "membarrier");
  merges = prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) == 0;
  denies = prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) == 0;
  CHECK(mlockall(MCL_FUTURE | MCL_ONFAULT) == 0, "mlockall: errno %d", errno);
  char *pages = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned long first_node[NODE_WORDS] = {1};
  memset(pages, 1, 5 * 4096);
  int binds = syscall(SYS_mbind, pages + 4096, 4096UL, MPOL_BIND, first_node, 1024UL, 0) == 0 &&
              syscall(SYS_mbind, pages + 3 * 4096, 4096UL, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, first_node, 1024UL, 0) == 0;
  say("ready\n");
  wait_for_go();
  CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0, "the membarrier registration is lost");
  CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == -1, "a registration too many");
  CHECK(!merges || prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1, "memory merging");
  CHECK(!denies || prctl(PR_GET_MDWE, 0, 0, 0, 0) == REFUSE_EXEC_GAIN, "memory-deny-write-execute");
  CHECK(time_stamp_counter() == PR_TSC_ENABLE, "the time stamp counter may not be read");
  CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT, "the memory error policy of the first thread");
  unsigned long nodes[NODE_WORDS] = {0};
  CHECK(!has_policy || policy(nodes) == MPOL_DEFAULT, "the memory policy of the first thread");
  for (int i = 0; binds && i < 5; i++) {
    int node, mode = policy_of(pages + i * 4096, &node);
    int expected = i == 1 ? MPOL_BIND : i == 3 ? MPOL_INTERLEAVE | MPOL_F_STATIC_NODES : MPOL_DEFAULT;
    CHECK(mode == expected && node == i % 2, "page %d has the policy %d", i, mode);
  }
  char flags[1024] = "";
  void *area = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(area, 4096, PROT_READ);
  flags_of(area, flags, sizeof flags);
  CHECK(strstr(flags, " lo") && strstr(flags, " lf"), "new memory is not locked on fault: %s", flags);
  CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
  say("ok\n");
  return 0;
}
