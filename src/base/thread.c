#include "base/thread.h"
#include "base/log.h"
#include <string.h>
#include <unistd.h>

void thread_begin(pthread_t *out, void *(*run)(void *context), void *context)
{
	int failure = pthread_create(out, NULL, run, context);

	if (failure == 0)
		return;
	log_error("a thread cannot begin (%s): this machine, or a limit of the service, has no room for it; raise TasksMax= (ulimit -u), LimitAS= (ulimit -v) "
	          "or MemoryMax=", strerror(failure));
	_exit(1);
}
