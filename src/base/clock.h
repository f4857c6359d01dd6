/* base/clock.h -- what time it is. Deadlines use the monotonic clock, dates the wall clock.
 *
 * Test builds (FACTEUR_FAULT): FACTEUR_CLOCK=path names a file of 8 or 16 bytes, two int64_t that are added to the wall clock of all processes,
 * which map it: seconds that have passed for everybody, and seconds by which somebody has set the clock. */
#ifndef FACTEUR_BASE_CLOCK_H
#define FACTEUR_BASE_CLOCK_H
#include <stdint.h>

int64_t clock_mono_ms(void);       /* milliseconds; never jumps */
int64_t clock_mono_us(void);
int64_t clock_wall_s(void);        /* seconds since 1970, UTC */
int64_t clock_wall_ms(void);
int64_t clock_wall_start_s(void);  /* what the wall clock would have said when the machine began: changes when somebody sets it, not with time, nor in sleep */
void    clock_wall_offset(int64_t seconds);  /* tests: so much time has passed for clock_wall_*; 0 again for real time */
void    clock_wall_jump(int64_t seconds);    /* tests: somebody has set the wall clock ahead by so much */
void    clock_mono_advance(int64_t ms);      /* tests: so much time has passed for clock_mono_*; who sleeps sleeps on */
#endif
