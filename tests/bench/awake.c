/* Keeps one processor from idling: awake PROCESSOR PARENT
 *
 * A virtual processor that idles is given back to the host; it comes back late, and what that takes is charged to whoever is woken. So
 * programs look dearer on a quiet machine than on a busy one, and the more so the more often they wait. This one runs only where nothing else
 * wants to (SCHED_IDLE gives way to everybody at once). It ends with the process that started it, however that ends. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sched_param none = {0};
	cpu_set_t only;

	if (argc != 3) {
		fputs("usage: awake PROCESSOR PARENT\n", stderr);
		return 2;
	}
	CPU_ZERO(&only);
	CPU_SET((size_t)strtoul(argv[1], NULL, 10), &only);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || sched_setaffinity(0, sizeof(only), &only) || sched_setscheduler(0, SCHED_IDLE, &none)) {
		perror("awake");
		return 1;
	}
	if (getppid() != (pid_t)strtol(argv[2], NULL, 10))  /* it ended before it could be watched */
		return 1;
	puts("awake");
	if (fclose(stdout))
		return 1;
	for (;;) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();  /* leaves the core to a sibling of this processor */
#else
		__asm__ volatile("" ::: "memory");
#endif
	}
}
