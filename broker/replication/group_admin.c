/* group_admin.c - see group_internal.h. */
#include "broker/replication/group_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

int group_promote(struct group *g, bool unclean)
{
    int r = -EALREADY;

    pthread_mutex_lock(&g->lock);
    if (g->core.role != CORE_MASTER && g->core.role != CORE_STARTING) {
        g->unclean = unclean;
        g->alarm[0] = '\0';
        g->core.now_ms = clock_mono_ms();
        core_promote(&g->core, unclean);
        group_run_orders(g);
        r = 0;
    }
    pthread_mutex_unlock(&g->lock);
    group_wake(g);
    return r;
}

/* There is a follower to hand over to. One that has just died still counts as following, and there
 * would be no sends for as long as it is waited for. */
static bool may_hand_over(struct group *g, uint16_t to)
{
    for (unsigned i = 0; i < g->peer_count; i++) {
        const struct peer *p = &g->peers[i];

        if ((to == 0 || p->member.id == to) && group_is_linked(p) &&
            group_core_peer(g, p->member.id)->following)
            return true;
    }
    return false;
}

int group_hand_over(struct group *g, uint16_t to, int64_t wait_ms)
{
    int r = -EPERM;

    pthread_mutex_lock(&g->lock);
    if (g->core.role == CORE_MASTER && !g->opening) {
        r = -ENOENT;
        if (may_hand_over(g, to)) {
            g->core.now_ms = clock_mono_ms();
            core_hand_over(&g->core, to, wait_ms);
            group_run_orders(g);
            group_look_at_log(g);
            /* Who has everything already will report nothing. */
            core_log(&g->core, g->seen_written, g->seen_flushed);
            group_run_orders(g);
            r = 0;
        }
    }
    pthread_mutex_unlock(&g->lock);
    group_wake(g);
    return r;
}

int group_step_down(struct group *g)
{
    int r = -EPERM;

    pthread_mutex_lock(&g->lock);
    if (g->core.role == CORE_MASTER) {
        core_step_down(&g->core);
        group_run_orders(g);
        r = 0;
    }
    pthread_mutex_unlock(&g->lock);
    group_wake(g);
    return r;
}
static void member_status(struct group *g, struct group_member_status *out)
{
    const struct core_peer *c = group_core_peer(g, out->member.id);
    const struct peer *p = group_peer(g, out->member.id);

    if (!c || !p) {
        out->self = out->connected = true;
        out->received = g->core.written;
        out->flushed = g->core.flushed;
        return;
    }
    out->connected = group_is_linked(p);
    out->following = c->following;
    out->received = c->received;
    out->flushed = c->flushed;
    out->near = c->following && out->connected &&
                (p->counted < 0 || !quorum_is_silent(&g->quorum, p->counted)) &&
                (c->received >= g->core.written ||
                 g->core.written - c->received < g->options.quorum.behind_max);
    out->heard_ms = c->heard_ms == 0 ? -1 : clock_mono_ms() - c->heard_ms;
    out->promised = c->promised;
    out->promised_epoch = c->last_epoch;
    out->promised_end = c->end;
}

void group_status(struct group *g, struct group_status *out)
{
    const struct core *c = &g->core;

    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&g->lock);
    out->role = c->role;
    out->doubtful = !core_is_certain(c);
    out->draining = c->role == CORE_MASTER && !atomic_load(&g->leads);
    out->self = c->state.member;
    out->master = c->role == CORE_FOLLOWING || c->role == CORE_MASTER ? c->master : 0;
    out->promised = c->state.promised;
    out->epoch = c->epoch;
    out->last_epoch = core_last_epoch(c);
    out->asked = c->asked;
    out->written = c->written;
    out->flushed = c->flushed;
    out->confirmed = c->confirmed;
    out->acked = atomic_load(&g->acked);
    out->copies = c->state.copies;
    out->promises_needed = core_promises_needed(c);
    out->unclean = g->unclean;
    snprintf(out->alarm, sizeof(out->alarm), "%s", g->alarm);
    out->epoch_count = c->state.epoch_count;
    memcpy(out->epochs, c->state.epochs, sizeof(out->epochs));
    out->member_count = g->options.member_count;
    for (unsigned i = 0; i < g->options.member_count; i++) {
        out->members[i].member = g->options.members[i];
        member_status(g, &out->members[i]);
    }
    pthread_mutex_unlock(&g->lock);
}
