/* reader_pool.c - see reader_pool.h. A ring of jobs per lane, under one mutex. Every accepted job
 * runs, also while the pool ends: whoever handed it over owns memory that only the job gives back.
 */
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

struct lane {
    struct job *jobs;
    unsigned size, first, waiting;
};

struct reader_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    struct lane lanes[READER_POOL_LANES]; /* the first that has a job is served */
    struct job first_jobs[READER_POOL_FIRST_MAX], usual_jobs[READER_POOL_WAITING_MAX];
    unsigned threads;
    pthread_t ids[];
};

static bool take_job(struct reader_pool *pool, struct job *job)
{
    for (unsigned i = 0; i < READER_POOL_LANES; i++) {
        struct lane *lane = &pool->lanes[i];

        if (lane->waiting == 0)
            continue;
        *job = lane->jobs[lane->first];
        lane->first = (lane->first + 1) % lane->size;
        lane->waiting--;
        return true;
    }
    return false;
}

static void *reader_main(void *arg)
{
    struct reader_pool *pool = arg;
    struct job job;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (!take_job(pool, &job)) {
            if (pool->stopping)
                break;
            pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
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
    pool->lanes[READER_POOL_FIRST] = (struct lane){pool->first_jobs, READER_POOL_FIRST_MAX, 0, 0};
    pool->lanes[READER_POOL_USUAL] = (struct lane){pool->usual_jobs, READER_POOL_WAITING_MAX, 0, 0};
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

int reader_pool_run(struct reader_pool *pool, enum reader_pool_lane in, void (*job)(void *ctx),
                    void *ctx)
{
    struct lane *lane = &pool->lanes[in];
    int r = 0;

    pthread_mutex_lock(&pool->lock);
    if (lane->waiting == lane->size)
        lane = &pool->lanes[READER_POOL_USUAL];
    if (pool->stopping) {
        r = -ESHUTDOWN;
    } else if (lane->waiting == lane->size) {
        r = -EAGAIN;
    } else {
        unsigned at = (lane->first + lane->waiting) % lane->size;
        lane->jobs[at] = (struct job){.run = job, .ctx = ctx, .since_ms = clock_mono_ms()};
        lane->waiting++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return r;
}

void reader_pool_stats(struct reader_pool *pool, unsigned *waiting, int64_t *waits_ms)
{
    const struct lane *lane = &pool->lanes[READER_POOL_USUAL];

    pthread_mutex_lock(&pool->lock);
    *waiting = lane->waiting;
    *waits_ms = lane->waiting > 0 ? clock_mono_ms() - lane->jobs[lane->first].since_ms : 0;
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
