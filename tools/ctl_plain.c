/* ctl_plain.c - ternctl group, promote and demote on brokers of no group: a slave that followed a
 * master, RocketMQ's or TernMQ's, becomes the master when that one is gone, and a slave again.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tools/ctl_group.h"
#include "tools/show.h"

static bool is_master(const struct view_member *m)
{
    return m->plain && strcmp(m->role, "master") == 0;
}

/* --- ternctl group --- */

static void add_broker(struct table *t, const struct view_member *m)
{
    if (m->broker_id < 0)
        table_add(t, NULL);
    else
        table_addf(t, "%" PRId64, m->broker_id);
    table_add(t, m->address);
    if (!m->plain) {
        table_add(t, m->foreign ? "another" : m->alive ? "not TernMQ" : "no answer");
        for (int i = 0; i < 4; i++)
            table_add(t, NULL);
        table_add(t, m->alive && !m->foreign ? "" : m->why);
        return;
    }
    table_add(t, m->role);
    table_add_i64(t, m->written);
    table_add_i64(t, m->flushed);
    table_add_i64(t, m->confirmed);
    if (m->followed.state[0] == '\0' || m->followed.end < m->written)
        table_add(t, NULL);
    else
        table_add_i64(t, m->followed.end - m->written);
    table_add(t, m->followed.state[0] != '\0' ? m->followed.state : m->epoch > 0 ? "promoted" : "");
}

static void plain_json(struct ctl *ctl, const struct view *v)
{
    struct json_out j;

    jout_begin(&j, &ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "cluster", v->cluster);
    jout_kv_str(&j, "broker", v->broker);
    jout_key(&j, "brokers");
    jout_array(&j);
    for (unsigned i = 0; i < v->count; i++) {
        const struct view_member *m = &v->members[i];

        jout_object(&j);
        jout_kv_i64(&j, "id", m->broker_id);
        jout_kv_str(&j, "address", m->address);
        jout_kv_bool(&j, "answers", m->alive);
        if (m->plain) {
            jout_kv_str(&j, "role", m->role);
            jout_kv_bool(&j, "promoted", m->epoch > 0);
            jout_kv_i64(&j, "written", m->written);
            jout_kv_i64(&j, "flushed", m->flushed);
            jout_kv_i64(&j, "confirmed", m->confirmed);
            jout_kv_str(&j, "master", m->followed.master);
            jout_kv_str(&j, "state", m->followed.state);
            jout_kv_i64(&j, "masterEnd", m->followed.end);
        }
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&ctl->out, "\n");
}

void plain_group(struct ctl *ctl, struct view *v)
{
    static const char *const headings[] = {">ID",        "ADDRESS", "ROLE",  ">LOG END", ">FLUSHED",
                                           ">CONFIRMED", ">LAG",    "STATE", NULL};
    struct table t;

    if (ctl->json) {
        plain_json(ctl, v);
        return;
    }
    table_init(&t, headings);
    for (unsigned i = 0; i < v->count; i++)
        add_broker(&t, &v->members[i]);
    ctl_table(ctl, &t);
    buf_add_str(&ctl->out, "no group: a slave knows only of its master, and nobody counts copies "
                           "but a SYNC_MASTER\n");
}

/* --- ternctl promote --- */

static void say_broker(struct ctl *ctl, const struct view_member *m)
{
    buf_addf(&ctl->out, "broker %" PRId64 " at %s: ", m->broker_id, m->address);
    if (!m->alive) {
        buf_addf(&ctl->out, "no answer (%s)\n", m->why);
        return;
    }
    if (!m->plain) {
        buf_addf(&ctl->out, "%s\n", m->foreign ? m->why : "answers, and is not TernMQ");
        return;
    }
    buf_addf(&ctl->out, "%s, log end %" PRId64, m->role, m->written);
    if (m->followed.end > 0)
        buf_addf(&ctl->out, "; its master's was %" PRId64 " when last heard", m->followed.end);
    else if (!is_master(m))
        buf_add_str(&ctl->out, "; it has not heard its master since it was started");
    if (!is_master(m))
        buf_addf(&ctl->out, " (%s)", m->followed.state);
    buf_addf(&ctl->out, "\n");
}

/* NULL with ctl->err: it cannot be done. */
static struct view_member *choose(struct ctl *ctl, struct view *v, const struct group_command *c)
{
    struct view_member *master = view_plain_master(v), *best = view_plain_best(v), *slave = best;

    if (c->to != GROUP_TO_UNSET) {
        slave = view_broker(v, c->to);
        if (!slave || !slave->plain) {
            err_say(&ctl->err, TOOL_NOT_FOUND,
                    "broker %" PRId64 " of %s does not answer, or is not TernMQ", c->to, v->broker);
            return NULL;
        }
    }
    if (!slave || is_master(slave)) {
        err_say(&ctl->err, TOOL_REFUSED, "%s has no slave that could be promoted", v->broker);
        return NULL;
    }
    if (!master)
        master = view_broker(v, 0);
    if (master && master->alive && !c->unclean) {
        err_say(&ctl->err, TOOL_REFUSED,
                "the master at %s is alive: stop it first, or two brokers take messages, and "
                "clients find now this one and now that one. (--unclean promotes all the same)",
                master->address);
        return NULL;
    }
    if (best && best->written > slave->written && !c->unclean) {
        err_say(&ctl->err, TOOL_REFUSED,
                "broker %" PRId64 " at %s has %" PRId64
                " bytes more: promote that one. (--unclean promotes all the same)",
                best->broker_id, best->address, best->written - slave->written);
        return NULL;
    }
    return slave;
}

static bool wait_for_role(struct ctl *ctl, struct view *v, const char *address, const char *role,
                          int64_t until_ms)
{
    for (;;) {
        struct view_member *m = view_know(v, address);

        if (m && m->plain && strcmp(m->role, role) == 0)
            return true;
        if (m)
            m->silent = false; /* its start may take longer than an answer is waited for */
        if (clock_mono_ms() >= until_ms)
            return false;
        poll(NULL, 0, GROUP_LOOK_MS);
        view_refresh(ctl, v);
    }
}

int plain_promote(struct ctl *ctl, struct view *v, const struct group_command *c)
{
    struct rpc_field fields[] = {{"unclean", c->unclean ? "true" : "false"}};
    int64_t until_ms = clock_mono_ms() + c->wait_ms;
    char address[VIEW_ADDRESS_MAX];
    struct view_member *slave;
    int r;

    for (unsigned i = 0; i < v->count; i++)
        say_broker(ctl, &v->members[i]);
    group_step(ctl);
    slave = choose(ctl, v, c);
    if (!slave)
        return ctl->err.code;
    snprintf(address, sizeof(address), "%s", slave->address);
    r = group_call(ctl, v, slave, "promote it", REQUEST_TERN_GROUP_PROMOTE, fields, 1);
    if (r != TOOL_DONE)
        return r;
    buf_addf(&ctl->out,
             "broker %" PRId64 " becomes the master; what its master took after it was last heard "
             "is not here\n",
             slave->broker_id);
    group_step(ctl);
    if (!wait_for_role(ctl, v, address, "master", until_ms))
        return err_say(&ctl->err, TOOL_REFUSED,
                       "the broker at %s is not the master after %.1f s; see its log", address,
                       (double)c->wait_ms / 1000);
    slave = view_know(v, address);
    buf_addf(&ctl->out, "broker %s is the master of %s: log end %" PRId64 "\n", address, v->broker,
             slave->written);
    group_step(ctl);
    return group_wait_for_routes(ctl, v, slave, until_ms);
}

/* --- ternctl demote --- */

int plain_demote(struct ctl *ctl, struct view *v, const struct group_command *c)
{
    struct view_member *master = view_plain_master(v);
    int64_t until_ms = clock_mono_ms() + c->wait_ms;
    char address[VIEW_ADDRESS_MAX];
    int64_t file_id;
    int r;

    if (!master)
        return err_say(&ctl->err, TOOL_REFUSED, "%s has no master that is TernMQ", v->broker);
    for (unsigned i = 0; i < v->count; i++) {
        const struct view_member *other = &v->members[i];

        if (other != master && is_master(other))
            return err_say(&ctl->err, TOOL_REFUSED,
                           "%s has two masters, at %s and %s: stop the one that should not be, or "
                           "set brokerRole in its file",
                           v->broker, master->address, other->address);
    }
    snprintf(address, sizeof(address), "%s", master->address);
    file_id = master->file_id;
    r = group_call(ctl, v, master, "let it step down", REQUEST_TERN_GROUP_STEP_DOWN, NULL, 0);
    if (r != TOOL_DONE)
        return r;
    if (!wait_for_role(ctl, v, address, "slave", until_ms))
        return err_say(&ctl->err, TOOL_REFUSED,
                       "the broker at %s is not a slave after %.1f s; see its log", address,
                       (double)c->wait_ms / 1000);
    buf_addf(&ctl->out,
             "broker %s is a slave again, with brokerId %" PRId64
             ", and follows the master of %s (or haMasterAddress, when its file has that)\n",
             address, file_id, v->broker);
    return TOOL_DONE;
}
