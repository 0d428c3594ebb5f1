/* turns.c - see turns.h. A real thread for each, with a semaphore that it waits at until it is its
 * turn. Locks are never waited for in the system: who finds one taken gives up his turn until it is
 * let go. Conditions are lists of who waits for them. */
#include "turns.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

enum {
    THREADS_MAX = 32,
    SWITCH_PERCENT = 15,
    PID = 4242,
};
#define NEVER INT64_MAX
#define BEGIN_MONO_NS INT64_C(1000000000000)
#define BEGIN_WALL_NS INT64_C(1760000000000000000)

enum state { NOBODY, READY, AT_LOCK, AT_CONDITION, AT_JOIN, ASLEEP, ENDED };

struct thread {
    enum state state;
    const void *at; /* the lock, condition or thread that it waits for */
    int64_t until_ns;
    bool timed_out;
    sem_t turn;
    pthread_t id;
    void *(*main)(void *arg);
    void *arg, *result;
};

static struct thread threads[THREADS_MAX];
static struct thread *current; /* NULL: nobody takes turns */
static struct random choices;
static int64_t now_ns;
static bool kept;

/* --- whose turn it is --- */

static struct thread *choose(bool any)
{
    struct thread *ready[THREADS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < THREADS_MAX; i++) {
        if (threads[i].state == READY)
            ready[count++] = &threads[i];
    }
    if (count == 0)
        return NULL;
    return ready[any && count > 1 ? random_below(&choices, count) : 0];
}

/* Time goes on to the first moment that somebody waits for. */
static bool let_time_pass(void)
{
    struct thread *first = NULL;

    for (unsigned i = 0; i < THREADS_MAX; i++) {
        struct thread *t = &threads[i];
        if ((t->state == AT_CONDITION || t->state == ASLEEP) && t->until_ns != NEVER &&
            (!first || t->until_ns < first->until_ns))
            first = t;
    }
    if (!first)
        return false;
    if (first->until_ns > now_ns)
        now_ns = first->until_ns;
    first->timed_out = true;
    first->state = READY;
    return true;
}

static void give_turn(struct thread *self)
{
    struct thread *next;

    while (!(next = choose(true))) {
        if (!let_time_pass())
            turns_stuck();
    }
    if (next == self)
        return;
    current = next;
    sem_post(&next->turn);
    if (self->state == ENDED)
        return;
    while (sem_wait(&self->turn) != 0)
        ;
    assert(current == self);
}

static void wait_at(enum state state, const void *at, int64_t until_ns)
{
    struct thread *self = current;

    self->state = state;
    self->at = at;
    self->until_ns = until_ns;
    self->timed_out = false;
    give_turn(self);
}

/* Those who wait there may go on: all of them, or one. */
static void wake(enum state state, const void *at, bool all)
{
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        if (threads[i].state != state || threads[i].at != at)
            continue;
        threads[i].state = READY;
        if (!all)
            return;
    }
}

void turns_begin(uint64_t seed, int64_t begin_ms)
{
    assert(!current);
    choices.state = random_mix(seed);
    kept = false;
    now_ns = begin_ms ? begin_ms * 1000000 : BEGIN_MONO_NS;
    memset(threads, 0, sizeof(threads));
    current = &threads[0];
    current->state = READY;
    sem_init(&current->turn, 0, 0);
}

void turns_end(void)
{
    assert(current == &threads[0]);
    for (unsigned i = 1; i < THREADS_MAX; i++)
        assert(threads[i].state == NOBODY);
    sem_destroy(&threads[0].turn);
    current = NULL;
}

void turns_point(void)
{
    int saved = errno;

    if (current && !kept && random_chance(&choices, SWITCH_PERCENT))
        give_turn(current);
    errno = saved;
}

void turns_keep(bool keep)
{
    kept = keep;
}

void turns_sleep_ms(int64_t ms)
{
    wait_at(ASLEEP, NULL, now_ns + ms * 1000000);
}

void turns_spend_us(int64_t us)
{
    now_ns += us * 1000;
}

int64_t turns_now_ms(void)
{
    return now_ns / 1000000;
}

/* --- threads --- */

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg);
int __real_pthread_join(pthread_t id, void **result);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t id, void **result);

static void *thread_main(void *arg)
{
    struct thread *self = arg;
    void *result;

    while (sem_wait(&self->turn) != 0)
        ;
    result = self->main(self->arg);
    self->state = ENDED;
    wake(AT_JOIN, self, true);
    give_turn(self);
    return result;
}

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg)
{
    struct thread *t = NULL;
    int r;

    if (!current)
        return __real_pthread_create(id, attr, start, arg);
    for (unsigned i = 1; i < THREADS_MAX && !t; i++) {
        if (threads[i].state == NOBODY)
            t = &threads[i];
    }
    if (!t)
        return EAGAIN;
    sem_init(&t->turn, 0, 0);
    t->main = start;
    t->arg = arg;
    r = __real_pthread_create(id, attr, thread_main, t);
    if (r != 0) {
        sem_destroy(&t->turn);
        return r;
    }
    t->id = *id;
    t->state = READY;
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **result)
{
    struct thread *t = NULL;
    int r;

    for (unsigned i = 1; current && i < THREADS_MAX && !t; i++) {
        if (threads[i].state != NOBODY && pthread_equal(threads[i].id, id))
            t = &threads[i];
    }
    if (!t)
        return __real_pthread_join(id, result);
    if (t->state != ENDED)
        wait_at(AT_JOIN, t, NEVER);
    r = __real_pthread_join(id, result);
    sem_destroy(&t->turn);
    t->state = NOBODY;
    return r;
}

/* --- locks and conditions --- */

int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __real_pthread_mutex_unlock(pthread_mutex_t *m);
int __real_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __real_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __real_pthread_cond_signal(pthread_cond_t *c);
int __real_pthread_cond_broadcast(pthread_cond_t *c);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *l);
int __real_pthread_rwlock_unlock(pthread_rwlock_t *l);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __wrap_pthread_cond_signal(pthread_cond_t *c);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *l);

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    int r;

    if (!current)
        return __real_pthread_mutex_lock(m);
    while ((r = pthread_mutex_trylock(m)) == EBUSY)
        wait_at(AT_LOCK, m, NEVER);
    return r;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    int r = __real_pthread_mutex_unlock(m);

    if (current)
        wake(AT_LOCK, m, true);
    return r;
}

static int wait_condition(pthread_cond_t *c, pthread_mutex_t *m, int64_t until_ns)
{
    struct thread *self = current;
    bool timed_out;

    __wrap_pthread_mutex_unlock(m);
    wait_at(AT_CONDITION, c, until_ns);
    timed_out = self->timed_out;
    __wrap_pthread_mutex_lock(m);
    return timed_out ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    return current ? wait_condition(c, m, NEVER) : __real_pthread_cond_wait(c, m);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
    if (!current)
        return __real_pthread_cond_timedwait(c, m, t);
    /* The store's conditions all go by the monotonic clock. */
    return wait_condition(c, m, (int64_t)t->tv_sec * 1000000000 + t->tv_nsec);
}

int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
    if (!current)
        return __real_pthread_cond_signal(c);
    wake(AT_CONDITION, c, false);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
    if (!current)
        return __real_pthread_cond_broadcast(c);
    wake(AT_CONDITION, c, true);
    return 0;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    int r;

    if (!current)
        return __real_pthread_rwlock_rdlock(l);
    while ((r = pthread_rwlock_tryrdlock(l)) == EBUSY)
        wait_at(AT_LOCK, l, NEVER);
    return r;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    int r;

    if (!current)
        return __real_pthread_rwlock_wrlock(l);
    while ((r = pthread_rwlock_trywrlock(l)) == EBUSY)
        wait_at(AT_LOCK, l, NEVER);
    return r;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *l)
{
    int r = __real_pthread_rwlock_unlock(l);

    if (current)
        wake(AT_LOCK, l, true);
    return r;
}

/* --- clocks, random bytes, the process id --- */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
ssize_t __real_getrandom(void *to, size_t n, unsigned flags);
pid_t __real_getpid(void);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);
pid_t __wrap_getpid(void);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    int64_t ns = now_ns;

    if (!current)
        return __real_clock_gettime(clock, t);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        ns += BEGIN_WALL_NS - BEGIN_MONO_NS;
    *t = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return 0;
}

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags)
{
    if (!current)
        return __real_getrandom(to, n, flags);
    memset(to, 0x5A, n);
    return (ssize_t)n;
}

pid_t __wrap_getpid(void)
{
    return current ? PID : __real_getpid();
}
