/* turns.h - threads that take turns, and a clock that moves only when they say so. What a run of
 * the store does then follows from a seed alone, and a minute costs nothing.
 *
 * The program is linked with --wrap for the calls in turns.c (threads, locks, conditions, clocks,
 * random bytes, the process id), for all code from static libraries. One thread runs at a time;
 * another one goes on where this one waits, or at a turns_point(), which of them the seed decides.
 * When all wait, the clock goes to the earliest time that one of them waits for; when there is
 * none, turns_stuck() is called.
 */
#ifndef TERN_TESTS_FAULTS_TURNS_H
#define TERN_TESTS_FAULTS_TURNS_H

#include <stdbool.h>
#include <stdint.h>

/* The caller becomes the first thread. The clock begins at `now_ms` (monotonic; 0: at a first
 * moment), the wall clock with it. Once at a time; before turns_end() the
 * threads made since must have been joined. */
void turns_begin(uint64_t seed, int64_t now_ms);
void turns_end(void);
/* Not for those who hold a lock that others take without waiting, which nobody here has. */
void turns_point(void);
/* The caller's turn lasts until it waits for something. */
void turns_keep(bool keep);
void turns_sleep_ms(int64_t ms);
void turns_spend_us(int64_t us); /* the clock moves, the caller goes on */
int64_t turns_now_ms(void);      /* monotonic */
/* Given by the program: every thread waits for another one. Does not return. */
void turns_stuck(void);

#endif
