/* reader_pool.h - the few threads that may wait for a disk, and the bounded queue before them.
 *
 * A loop that would block hands its work over here. First come, first served, but for a second,
 * short queue that goes before the other: an operator is heard also where thousands of reads wait.
 * Any thread may call; one mutex inside, held for a few instructions.
 */
#ifndef TERN_BROKER_STORE_READER_POOL_H
#define TERN_BROKER_STORE_READER_POOL_H

#include <stdint.h>

#include "common/err.h"

struct reader_pool;

enum reader_pool_lane { READER_POOL_FIRST, READER_POOL_USUAL, READER_POOL_LANES };
/* Jobs of each lane that wait for a thread. What the first has no room for joins the usual one;
 * what that has no room for is refused. */
enum { READER_POOL_WAITING_MAX = 4096, READER_POOL_FIRST_MAX = 64 };

/* `threads` is at least 1. */
int reader_pool_new(struct reader_pool **out, unsigned threads, struct err *err);
/* job(ctx) will run once, on a thread of the pool, after all that wait in its lane and in those
 * before it. -EAGAIN when there is no room; -ESHUTDOWN once the pool is being freed: then it does
 * not run. */
int reader_pool_run(struct reader_pool *pool, enum reader_pool_lane lane, void (*job)(void *ctx),
                    void *ctx);
/* Usual jobs that wait for a thread, and since when the first of them does (ms; 0: none). */
void reader_pool_stats(struct reader_pool *pool, unsigned *waiting, int64_t *waits_ms);
/* Runs what waits, ends the threads, frees. NULL is fine; returns NULL. */
struct reader_pool *reader_pool_free(struct reader_pool *pool);

#endif
