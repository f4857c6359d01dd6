/* base/clock.h -- what time it is. Deadlines use the monotonic clock, dates the wall clock.
 *
 * Test builds (FACTEUR_FAULT): FACTEUR_CLOCK=path names a file of 8 bytes, seconds that are added to the wall clock (int64_t);
 * every process maps it, so whoever writes it makes the clock of the whole server jump. */
#ifndef FACTEUR_BASE_CLOCK_H
#define FACTEUR_BASE_CLOCK_H
#include <stdint.h>

int64_t clock_mono_ms(void);       /* milliseconds; never jumps */
int64_t clock_mono_us(void);
int64_t clock_wall_s(void);        /* seconds since 1970, UTC */
int64_t clock_wall_ms(void);
void    clock_wall_offset(int64_t seconds);  /* tests: shifts clock_wall_*; 0 again for real time */
void    clock_mono_advance(int64_t ms);      /* tests: so much time has passed for clock_mono_*; who sleeps sleeps on */
#endif
