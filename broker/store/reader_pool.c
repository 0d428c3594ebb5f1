/* reader_pool.c - see reader_pool.h. A ring of jobs under one mutex. Every accepted job runs, also
 * while the pool ends: whoever handed it over owns memory that only the job gives back. */
#include "broker/store/reader_pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"

struct job {
    void (*run)(void *ctx);
    void *ctx;
    int64_t since_ms; /* monotonic */
};

struct reader_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    unsigned first, waiting;
    struct job jobs[READER_POOL_WAITING_MAX];
    unsigned threads;
    pthread_t ids[];
};

static void *reader_main(void *arg)
{
    struct reader_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->waiting == 0 && !pool->stopping)
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->waiting == 0)
            break;
        struct job job = pool->jobs[pool->first];
        pool->first = (pool->first + 1) % READER_POOL_WAITING_MAX;
        pool->waiting--;
        pthread_mutex_unlock(&pool->lock);
        job.run(job.ctx);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int reader_pool_new(struct reader_pool **out, unsigned threads, struct err *err)
{
    struct reader_pool *pool;

    assert(threads >= 1);
    pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->ids[0]));
    if (!pool)
        return err_set(err, -ENOMEM, "start %u reader threads", threads);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (unsigned i = 0; i < threads; i++) {
        int r = store_thread(&pool->ids[i], "tern-reader", reader_main, pool);
        if (r < 0) {
            reader_pool_free(pool);
            return err_set(err, r, "start reader thread %u of %u", i + 1, threads);
        }
        pool->threads++;
    }
    *out = pool;
    return 0;
}

int reader_pool_run(struct reader_pool *pool, void (*job)(void *ctx), void *ctx)
{
    int r = 0;

    pthread_mutex_lock(&pool->lock);
    if (pool->stopping) {
        r = -ESHUTDOWN;
    } else if (pool->waiting == READER_POOL_WAITING_MAX) {
        r = -EAGAIN;
    } else {
        unsigned at = (pool->first + pool->waiting) % READER_POOL_WAITING_MAX;
        pool->jobs[at] = (struct job){.run = job, .ctx = ctx, .since_ms = clock_mono_ms()};
        pool->waiting++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return r;
}

void reader_pool_stats(struct reader_pool *pool, unsigned *waiting, int64_t *waits_ms)
{
    pthread_mutex_lock(&pool->lock);
    *waiting = pool->waiting;
    *waits_ms = pool->waiting > 0 ? clock_mono_ms() - pool->jobs[pool->first].since_ms : 0;
    pthread_mutex_unlock(&pool->lock);
}

struct reader_pool *reader_pool_free(struct reader_pool *pool)
{
    if (!pool)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->ids[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return NULL;
}
