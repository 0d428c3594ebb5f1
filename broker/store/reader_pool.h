/* reader_pool.h - the few threads that may wait for a disk, and the bounded queue before them.
 *
 * A loop that would block hands its work over here. First come, first served. Any thread may call;
 * one mutex inside, held for a few instructions.
 */
#ifndef TERN_BROKER_STORE_READER_POOL_H
#define TERN_BROKER_STORE_READER_POOL_H

#include <stdint.h>

#include "common/err.h"

struct reader_pool;

enum { READER_POOL_WAITING_MAX = 4096 }; /* jobs that wait for a thread; more are refused */

/* `threads` is at least 1. */
int reader_pool_new(struct reader_pool **out, unsigned threads, struct err *err);
/* job(ctx) will run once, on a thread of the pool. -EAGAIN when READER_POOL_WAITING_MAX wait;
 * -ESHUTDOWN once the pool is being freed: then it does not run. */
int reader_pool_run(struct reader_pool *pool, void (*job)(void *ctx), void *ctx);
/* Jobs that wait for a thread, and since when the first of them does (ms; 0: none). */
void reader_pool_stats(struct reader_pool *pool, unsigned *waiting, int64_t *waits_ms);
/* Runs what waits, ends the threads, frees. NULL is fine; returns NULL. */
struct reader_pool *reader_pool_free(struct reader_pool *pool);

#endif
