/* quorum.c - see quorum.h. */
#include "broker/replication/quorum.h"

#include <stdio.h>
#include <string.h>

void quorum_init(struct quorum *q, const struct quorum_options *options, uint64_t written)
{
    memset(q, 0, sizeof(*q));
    q->options = *options;
    q->written = q->limit = written;
    /* Before the first member is there nobody is waited for, or everything is. */
    q->open = options->copies <= 1 || options->policy == QUORUM_GO_ON;
    if (options->copies <= 1)
        q->acked = UINT64_MAX;
}

int quorum_connect(struct quorum *q, const char *identity, int64_t now_ms)
{
    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        struct quorum_connection *c = &q->connections[i];

        if (c->used)
            continue;
        *c = (struct quorum_connection){.used = true, .moved_ms = now_ms};
        snprintf(c->identity, sizeof(c->identity), "%s", identity);
        return i;
    }
    return -1;
}

void quorum_disconnect(struct quorum *q, int connection)
{
    q->connections[connection].used = false;
}

static void set_target(const struct quorum *q, struct quorum_connection *c, int64_t now_ms)
{
    c->target = q->written;
    c->target_ms = now_ms;
}

void quorum_report(struct quorum *q, int connection, uint64_t acked, int64_t heard_ms)
{
    struct quorum_connection *c = &q->connections[connection];

    c->heard_ms = heard_ms;
    if (c->reported ? acked > c->acked : heard_ms > c->moved_ms)
        c->moved_ms = heard_ms;
    c->reported = true;
    c->acked = acked;
    if (c->silent && acked >= c->target) {
        c->silent = acked < q->written && heard_ms - c->target_ms >= q->options.timeout_ms;
        set_target(q, c, heard_ms);
    }
}

bool quorum_is_silent(const struct quorum *q, int connection)
{
    return q->connections[connection].silent;
}

struct member {
    const char *identity;
    uint64_t acked;
    bool near;
    enum { SAYS_NOTHING, IS_SILENT, TAKES } state;
};

/* One line for each identity; how many. */
static unsigned members_of(const struct quorum *q, struct member members[QUORUM_MEMBERS_MAX])
{
    unsigned count = 0;

    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        const struct quorum_connection *c = &q->connections[i];
        /* Who has not said yet where it is may be near: its first report tells. */
        bool near = !c->silent && (!c->reported || c->acked >= q->written ||
                                   q->written - c->acked < q->options.behind_max);
        uint64_t acked = c->reported ? c->acked : 0;
        int state = !c->reported ? SAYS_NOTHING : c->silent ? IS_SILENT : TAKES;
        unsigned m = 0;

        if (!c->used)
            continue;
        while (m < count && strcmp(members[m].identity, c->identity) != 0)
            m++;
        if (m == count || state > (int)members[m].state) {
            members[m] = (struct member){c->identity, acked, near, state};
            count += m == count;
        } else if (state == (int)members[m].state) {
            if (acked < members[m].acked)
                members[m].acked = acked;
            members[m].near = members[m].near || near;
        } /* else it says nothing, beside one that does: it may be no slave at all; or is silent,
             beside one that takes what is written: its process may be gone */
    }
    return count;
}

/* The highest offset that `wanted` of them have; 0 when there are too few. */
static uint64_t held_by(const struct member *members, unsigned count, unsigned wanted)
{
    uint64_t best = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned have = 0;

        for (unsigned k = 0; k < count; k++)
            have += members[k].acked >= members[i].acked;
        if (have >= wanted && members[i].acked > best)
            best = members[i].acked;
    }
    return best;
}

static unsigned count_near(const struct member *members, unsigned count)
{
    unsigned near = 0;

    for (unsigned i = 0; i < count; i++)
        near += members[i].near;
    return near;
}

unsigned quorum_near(const struct quorum *q)
{
    struct member members[QUORUM_MEMBERS_MAX];
    unsigned count = members_of(q, members);

    return count_near(members, count);
}

bool quorum_may_close(const struct quorum *q)
{
    return q->open && quorum_near(q) + 1 >= q->options.copies;
}

/* A sample is as old as its newest message: when there is no room, the last one takes more in, and
 * with that some messages wait a little longer. */
static void add_sample(struct quorum *q, int64_t now_ms)
{
    struct quorum_sample *last =
        &q->samples[(q->sample_first + q->sample_count + QUORUM_SAMPLES - 1) % QUORUM_SAMPLES];
    uint64_t known = q->sample_count > 0 ? last->written : q->limit;

    if (q->written <= known)
        return;
    if (q->sample_count > 0 &&
        (q->sample_count == QUORUM_SAMPLES || now_ms - last->ms < QUORUM_SAMPLE_MS)) {
        last->written = q->written;
        if (q->sample_count == QUORUM_SAMPLES)
            last->ms = now_ms;
        return;
    }
    q->samples[(q->sample_first + q->sample_count) % QUORUM_SAMPLES] =
        (struct quorum_sample){now_ms, q->written};
    q->sample_count++;
}

static struct quorum_sample *oldest(struct quorum *q)
{
    return q->sample_count > 0 ? &q->samples[q->sample_first] : NULL;
}

static void drop_oldest(struct quorum *q)
{
    q->sample_first = (q->sample_first + 1) % QUORUM_SAMPLES;
    q->sample_count--;
}

/* A message written at the start of a sample may have waited for a sample's length less. */
static int64_t due_ms(const struct quorum *q, const struct quorum_sample *s)
{
    return s->ms + q->options.timeout_ms + QUORUM_SAMPLE_MS;
}

/* With so few that are near. */
static bool nobody_waits(struct quorum *q)
{
    if (q->near + 1 >= q->options.copies)
        return false;
    q->open = true;
    q->sample_count = 0;
    return true;
}

/* The same member takes more over another connection: this one is that of a process that is gone.
 */
static bool is_left_over(const struct quorum *q, const struct quorum_connection *c)
{
    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        const struct quorum_connection *other = &q->connections[i];

        if (other->used && other->reported && other->acked > c->acked &&
            strcmp(other->identity, c->identity) == 0)
            return true;
    }
    return false;
}

/* What was written up to there has waited for too long. Whether somebody is silent now: who lives
 * and takes nothing. Who was not heard lately may be cut off, or this master may be. */
static bool note_silence(struct quorum *q, int64_t now_ms, uint64_t waited)
{
    bool any = false;

    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        struct quorum_connection *c = &q->connections[i];

        if (!c->used || c->silent || (c->reported && c->acked >= waited) ||
            now_ms - c->moved_ms < q->options.timeout_ms ||
            (now_ms - c->heard_ms > q->options.timeout_ms / 2 && !is_left_over(q, c)))
            continue;
        c->silent = true;
        set_target(q, c, now_ms);
        any = true;
    }
    return any;
}

int64_t quorum_update(struct quorum *q, int64_t now_ms, uint64_t written)
{
    struct member members[QUORUM_MEMBERS_MAX];
    struct quorum_sample *s;
    unsigned count;
    uint64_t held;
    bool go_on = q->options.policy == QUORUM_GO_ON, silence = false;

    q->written = written;
    if (q->options.copies <= 1)
        return INT64_MAX;
    count = members_of(q, members);
    held = held_by(members, count, q->options.copies - 1);
    if (held > q->acked)
        q->acked = held;
    q->near = count_near(members, count);
    if (go_on && nobody_waits(q))
        return INT64_MAX;
    if (q->open) {
        /* What was written meanwhile has been seen. */
        q->open = false;
        q->limit = written;
        q->sample_count = 0;
    }
    if (q->acked > q->limit)
        q->limit = q->acked;
    if (!go_on)
        return INT64_MAX;
    add_sample(q, now_ms);
    while ((s = oldest(q)) != NULL && due_ms(q, s) <= now_ms) {
        silence = note_silence(q, now_ms, s->written) || silence;
        if (s->written > q->limit)
            q->limit = s->written;
        drop_oldest(q);
    }
    if (silence) {
        q->near = quorum_near(q);
        if (nobody_waits(q))
            return INT64_MAX;
    }
    while ((s = oldest(q)) != NULL && s->written <= q->limit)
        drop_oldest(q);
    return s ? due_ms(q, s) : INT64_MAX;
}

uint64_t quorum_limit(const struct quorum *q)
{
    return q->options.copies <= 1 || q->open ? UINT64_MAX : q->limit;
}
