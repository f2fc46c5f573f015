/* The sandbox's process: holds a pod's namespaces open and reaps its orphans. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }

int main(void) {
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
