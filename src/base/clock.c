/* Two clocks; see the header. */
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>
#ifdef FACTEUR_FAULT
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

static _Atomic int64_t mono_offset_us;
static _Atomic int64_t wall_offsets_s[2];   /* passed; jumped */

#ifdef FACTEUR_FAULT
/* Mapped before main(), so it stays across fork and into every sandbox, and a jump is there for all roles at once. */
static const _Atomic int64_t *shared_offsets_s = wall_offsets_s;

__attribute__((constructor)) static void map_shared_offset(void)
{
	const char *path = getenv("FACTEUR_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd >= 0 ? mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (p != MAP_FAILED)
		shared_offsets_s = p;   /* a file of 8 bytes has zeros behind them */
}
static int64_t passed_s(void) { return shared_offsets_s[0]; }
static int64_t jumped_s(void) { return shared_offsets_s[1]; }
#else
static int64_t passed_s(void) { return wall_offsets_s[0]; }
static int64_t jumped_s(void) { return wall_offsets_s[1]; }
#endif

static int64_t read_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void) { return read_us(CLOCK_MONOTONIC) + mono_offset_us; }
int64_t clock_mono_ms(void) { return clock_mono_us() / 1000; }
int64_t clock_wall_ms(void) { return read_us(CLOCK_REALTIME) / 1000 + (passed_s() + jumped_s()) * 1000; }
int64_t clock_wall_s(void) { return clock_wall_ms() / 1000; }
int64_t clock_wall_start_s(void) { return (read_us(CLOCK_REALTIME) - read_us(CLOCK_BOOTTIME)) / 1000000 + jumped_s(); }
void clock_wall_offset(int64_t seconds) { wall_offsets_s[0] = seconds; }
void clock_wall_jump(int64_t seconds) { wall_offsets_s[1] = seconds; }
void clock_mono_advance(int64_t ms) { mono_offset_us += ms * 1000; }
