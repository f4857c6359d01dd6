/* Two clocks; see the header. */
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t wall_offset_s, mono_offset_us;

static int64_t read_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void) { return read_us(CLOCK_MONOTONIC) + mono_offset_us; }
int64_t clock_mono_ms(void) { return clock_mono_us() / 1000; }
int64_t clock_wall_ms(void) { return read_us(CLOCK_REALTIME) / 1000 + wall_offset_s * 1000; }
int64_t clock_wall_s(void) { return clock_wall_ms() / 1000; }
void clock_wall_offset(int64_t seconds) { wall_offset_s = seconds; }
void clock_mono_advance(int64_t ms) { mono_offset_us += ms * 1000; }
