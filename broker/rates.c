/* rates.c - totals and rates: see rates.h. */
#include "broker/rates.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS = 600 };

/* What the rates are made of, a second each. */
struct second {
    uint32_t put, got, found, missed;
};

struct rates {
    pthread_mutex_t lock;
    struct rates_turn total;
    int64_t now; /* the second that seconds[now % SECONDS] stands for */
    struct second seconds[SECONDS];
    int64_t day; /* local day number of the morning marks */
    uint64_t put_today, put_yesterday, got_today, got_yesterday;
};

struct rates *rates_new(void)
{
    struct rates *r = calloc(1, sizeof(*r));

    if (r)
        pthread_mutex_init(&r->lock, NULL);
    return r;
}

struct rates *rates_free(struct rates *r)
{
    if (r)
        pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

/* Moves to `now`, emptying the seconds in between. */
static void move_to(struct rates *r, int64_t now_ms)
{
    int64_t now = now_ms / 1000;
    time_t t = (time_t)now;
    struct tm local;

    if (now <= r->now)
        return;
    if (now - r->now >= SECONDS)
        memset(r->seconds, 0, sizeof(r->seconds));
    else
        for (int64_t s = r->now + 1; s <= now; s++)
            r->seconds[s % SECONDS] = (struct second){0};
    r->now = now;
    if (localtime_r(&t, &local)) {
        int64_t day = (int64_t)local.tm_year * 366 + local.tm_yday;

        if (r->day == 0) {
            r->day = day;
        } else if (day != r->day) {
            r->day = day;
            r->put_yesterday = r->put_today;
            r->got_yesterday = r->got_today;
            r->put_today = r->total.put_messages;
            r->got_today = r->total.got_messages;
        }
    }
}

void rates_add(struct rates *r, const struct rates_turn *turn, int64_t now_ms)
{
    struct second *s;

    pthread_mutex_lock(&r->lock);
    move_to(r, now_ms);
    s = &r->seconds[r->now % SECONDS];
    s->put += (uint32_t)turn->put_messages;
    s->got += (uint32_t)turn->got_messages;
    s->found += (uint32_t)turn->found_pulls;
    s->missed += (uint32_t)turn->missed_pulls;
    r->total.put_messages += turn->put_messages;
    r->total.put_bytes += turn->put_bytes;
    r->total.failed_puts += turn->failed_puts;
    r->total.got_messages += turn->got_messages;
    r->total.got_bytes += turn->got_bytes;
    r->total.found_pulls += turn->found_pulls;
    r->total.missed_pulls += turn->missed_pulls;
    pthread_mutex_unlock(&r->lock);
}

void rates_view(struct rates *r, int64_t now_ms, struct rates_view *out)
{
    static const int spans[3] = {10, 60, 600};

    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&r->lock);
    move_to(r, now_ms);
    out->total = r->total;
    for (int i = 0; i < 3; i++) {
        uint64_t put = 0, got = 0, found = 0, missed = 0;

        /* The running second counts, so that a burst shows at once. */
        for (int64_t s = r->now; s > r->now - spans[i]; s--) {
            const struct second *second = &r->seconds[((s % SECONDS) + SECONDS) % SECONDS];

            put += second->put;
            got += second->got;
            found += second->found;
            missed += second->missed;
        }
        out->put_tps[i] = (double)put / spans[i];
        out->got_tps[i] = (double)got / spans[i];
        out->found_tps[i] = (double)found / spans[i];
        out->missed_tps[i] = (double)missed / spans[i];
    }
    out->put_today_morning = r->put_today;
    out->put_yesterday_morning = r->put_yesterday;
    out->got_today_morning = r->got_today;
    out->got_yesterday_morning = r->got_yesterday;
    pthread_mutex_unlock(&r->lock);
}
