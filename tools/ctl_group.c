/* ctl_group.c - ternctl group, promote, drain, demote: who writes in a replicated group, and who is
 * to. Promote and drain print each step as it happens.
 */
#include "tools/ctl_group.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/dial.h"
#include "common/standard.h"
#include "tools/show.h"

enum { WAIT_DEFAULT_MS = 30000 };

#define GROUP_OPTIONS(c)                                                                           \
    {.name = "cluster",                                                                            \
     .kind = OPTION_TEXT,                                                                          \
     .to = &(c)->cluster,                                                                          \
     .value = "NAME",                                                                              \
     .help = "cluster of the group; default DefaultCluster"},                                      \
        {.name = "broker-name",                                                                    \
         .letter = 'b',                                                                            \
         .kind = OPTION_TEXT,                                                                      \
         .to = &(c)->broker,                                                                       \
         .value = "NAME",                                                                          \
         .help = "brokerName of the group"},                                                       \
    {                                                                                              \
        .name = "members", .kind = OPTION_TEXT, .to = &(c)->members,                               \
        .value = "HOST:PORT[;HOST:PORT]", .help = "members that no name server knows"              \
    }
#define GROUP_TO(c, what)                                                                          \
    {                                                                                              \
        .name = "to", .kind = OPTION_NUMBER, .to = &(c)->to, .value = "ID", .help = what,          \
        .min = 1, .max = UINT16_MAX                                                                \
    }
#define GROUP_WAIT(c)                                                                              \
    {                                                                                              \
        .name = "wait", .kind = OPTION_MILLIS, .to = &(c)->wait_ms, .value = "SECONDS",            \
        .help = "give up after so long; default 30", .min = 100, .max = 600000                     \
    }

/* Steps are seen when they happen; with --json all at the end, see finish(). */
void group_step(struct ctl *ctl)
{
    if (ctl->json)
        return;
    (void)standard_write(&ctl->out);
    buf_reset(&ctl->out);
}

static int check_members(const char *members, struct err *err)
{
    char list[2048], *save = NULL;

    if (!members)
        return TOOL_DONE;
    if (strlen(members) >= sizeof(list))
        return err_say(err, TOOL_USAGE, "--members is too long");
    snprintf(list, sizeof(list), "%s", members);
    for (char *at = strtok_r(list, ";", &save); at; at = strtok_r(NULL, ";", &save)) {
        struct dial_address address;
        struct err why = {0};

        if (dial_parse(&address, at, &why) < 0)
            return err_say(err, TOOL_USAGE, "--members %s: expected HOST:PORT[;HOST:PORT]", at);
    }
    return TOOL_DONE;
}

static int begin(struct ctl *ctl, const struct command *command, const struct option_spec *specs,
                 size_t count, int argc, char **argv, struct group_command *c, struct view *v)
{
    int operands;
    int r = ctl_parse(ctl, command, specs, count, argc, argv, 0, 0, &operands);

    if (r != CTL_GO_ON)
        return r;
    if (!c->broker)
        return err_say(&ctl->err, TOOL_USAGE, "which group? --broker-name NAME is missing");
    r = check_members(c->members, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    r = view_find(ctl, c->cluster ? c->cluster : "DefaultCluster", c->broker, c->members, v);
    return r == TOOL_DONE ? CTL_GO_ON : r;
}

/* With --json: the lines that were printed, as one document. */
static int finish(struct ctl *ctl, int status)
{
    struct bytes left = buf_bytes(&ctl->out);
    struct json_out j;
    struct buf out = {0};

    if (!ctl->json || ctl->help || (status != TOOL_DONE && ctl->out.len == 0))
        return status;
    jout_begin(&j, &out);
    jout_object(&j);
    jout_kv_bool(&j, "done", status == TOOL_DONE);
    jout_key(&j, "steps");
    jout_array(&j);
    while (left.len) {
        const uint8_t *end = memchr(left.at, '\n', left.len);
        size_t size = end ? (size_t)(end - left.at) : left.len;

        jout_bytes(&j, bytes_of(left.at, size));
        size += end != NULL;
        left = bytes_of(left.at + size, left.len - size);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_u8(&out, '\n');
    buf_destroy(&ctl->out);
    ctl->out = out;
    return status;
}

static struct group_command no_command(void)
{
    return (struct group_command){.to = GROUP_TO_UNSET, .wait_ms = WAIT_DEFAULT_MS};
}

/* --- ternctl group --- */

static void add_member(struct table *t, struct view *v, struct view_member *m)
{
    const char *state = m->alarm[0] ? m->alarm : m->doubtful ? "doubts its log" : "";

    if (view_is_outsider(m)) {
        table_add(t, NULL);
        table_add(t, m->address);
        table_add(t, "no member");
        for (int i = 0; i < 5; i++)
            table_add(t, NULL);
        if (m->foreign)
            table_addf(t, "%s, not counted", m->why);
        else
            table_add(t, "in no group, not counted");
        return;
    }
    if (m->id == 0)
        table_add(t, NULL);
    else
        table_addf(t, "%" PRId64, m->id);
    table_add(t, m->address);
    if (!m->answers) {
        table_add(t, "no answer");
        for (int i = 0; i < 5; i++)
            table_add(t, NULL);
        table_add(t, m->why);
        return;
    }
    table_add(t, m->draining ? "handing over" : m->role);
    table_addf(t, "%" PRIu64, m->epoch);
    table_add_i64(t, m->written);
    table_add_i64(t, m->flushed);
    table_add_i64(t, m->confirmed);
    if (view_leader(v))
        table_add_i64(t, view_lag(v, m));
    else
        table_add(t, NULL);
    table_add(t, state);
}

static void group_json(struct ctl *ctl, struct view *v)
{
    struct json_out j;

    jout_begin(&j, &ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "cluster", v->cluster);
    jout_kv_str(&j, "broker", v->broker);
    jout_kv_i64(&j, "copies", v->copies);
    jout_kv_i64(&j, "promisesNeeded", v->promises_needed);
    jout_key(&j, "members");
    jout_array(&j);
    for (unsigned i = 0; i < v->count; i++) {
        const struct view_member *m = &v->members[i];

        if (view_is_outsider(m))
            continue;
        jout_object(&j);
        jout_kv_i64(&j, "id", m->id);
        jout_kv_str(&j, "address", m->address);
        jout_kv_bool(&j, "answers", m->answers);
        if (m->answers) {
            jout_kv_str(&j, "role", m->role);
            jout_kv_i64(&j, "epoch", (int64_t)m->epoch);
            jout_kv_i64(&j, "lastEpoch", (int64_t)m->last_epoch);
            jout_kv_i64(&j, "master", m->master);
            jout_kv_i64(&j, "written", m->written);
            jout_kv_i64(&j, "flushed", m->flushed);
            jout_kv_i64(&j, "confirmed", m->confirmed);
            jout_kv_bool(&j, "doubtful", m->doubtful);
            jout_kv_bool(&j, "draining", m->draining);
            jout_kv_str(&j, "alarm", m->alarm);
        }
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&ctl->out, "\n");
}

int ctl_group(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    static const char *const headings[] = {">ID",      "ADDRESS",    "ROLE", ">EPOCH", ">LOG END",
                                           ">FLUSHED", ">CONFIRMED", ">LAG", "STATE",  NULL};
    struct group_command c = no_command();
    const struct option_spec specs[] = {GROUP_OPTIONS(&c), CTL_COMMON_OPTIONS(ctl)};
    struct table t;
    struct view v;
    int r = begin(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, &c, &v);

    if (r != CTL_GO_ON)
        return r;
    if (view_is_plain(&v)) {
        plain_group(ctl, &v);
        return TOOL_DONE;
    }
    if (ctl->json) {
        group_json(ctl, &v);
        return TOOL_DONE;
    }
    table_init(&t, headings);
    for (unsigned i = 0; i < v.count; i++)
        add_member(&t, &v, &v.members[i]);
    ctl_table(ctl, &t);
    buf_addf(&ctl->out,
             "%" PRId64 " copies for each message that is acknowledged; %" PRId64
             " promises make a master\n",
             v.copies, v.promises_needed);
    return TOOL_DONE;
}

/* --- waiting for a master --- */

int group_call(struct ctl *ctl, const struct view *v, const struct view_member *m,
               const char *doing, int32_t code, const struct rpc_field *fields, size_t count)
{
    struct rpc_request request = {.code = code, .fields = fields, .field_count = count};
    struct remoting_frame reply;
    char whom[192];

    snprintf(whom, sizeof(whom), "broker %.120s", v->broker);
    return client_need(ctl->client, m->address, whom, doing, &request, &reply, &ctl->err);
}

/* A name server may know the master by another address than ours (a host name, brokerIP1). */
static bool is_that_master(struct ctl *ctl, const struct view *v, const struct view_member *m,
                           const char *address)
{
    struct view there = {.cluster = v->cluster, .broker = v->broker};
    struct view_member *other;

    if (strcmp(address, m->address) == 0)
        return true;
    other = view_know(&there, address);
    if (!other || m->plain)
        return false;
    view_ask(ctl, &there, other);
    return other->answers && other->id == m->id && strcmp(other->role, "master") == 0;
}

enum { ROUTED, NOT_ROUTED, SILENT };
static int routes_to(struct ctl *ctl, const char *name_server, const struct view *v,
                     const struct view_member *m)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_CLUSTER_INFO};
    struct remoting_frame reply;
    const struct route_broker *b;
    struct route route = {0};
    const char *master;
    struct err err = {0};
    bool there;
    int r = client_need(ctl->client, name_server, "name server", "list the brokers", &request,
                        &reply, &err);

    if (r != TOOL_DONE)
        return r == TOOL_UNREACHABLE ? SILENT : NOT_ROUTED;
    if (route_parse(&route, reply.body, true, &err) < 0)
        return NOT_ROUTED;
    b = route_broker_named(&route, v->broker);
    master = b ? route_master(b) : NULL;
    there = master && is_that_master(ctl, v, m, master);
    route_destroy(&route);
    return there ? ROUTED : NOT_ROUTED;
}

/* A name server that does not answer is passed over as long as another does: it may have been on
 * the host of the old master, and is told when it is back. */
int group_wait_for_routes(struct ctl *ctl, const struct view *v, const struct view_member *m,
                          int64_t until_ms)
{
    unsigned count = client_name_server_count(ctl->client), routed = 0;

    for (unsigned i = 0; i < count; i++) {
        const char *name_server = client_name_server(ctl->client, i);
        int found = routes_to(ctl, name_server, v, m);

        while (found == NOT_ROUTED && clock_mono_ms() < until_ms) {
            poll(NULL, 0, GROUP_LOOK_MS);
            found = routes_to(ctl, name_server, v, m);
        }
        if (found == NOT_ROUTED)
            return err_say(&ctl->err, TOOL_REFUSED,
                           "the broker at %s is the master, but name server %s does not say so "
                           "yet; it goes on being told",
                           m->address, name_server);
        routed += found == ROUTED;
        if (found == ROUTED)
            buf_addf(&ctl->out, "name server %s routes to %s\n", name_server, m->address);
        else
            buf_addf(&ctl->out, "name server %s does not answer\n", name_server);
        group_step(ctl);
    }
    if (routed == 0)
        return err_say(&ctl->err, TOOL_UNREACHABLE,
                       "the broker at %s is the master, but no name server answers", m->address);
    return TOOL_DONE;
}

/* Until another member, or the same in a higher epoch, is the master; or, `handing`, until the old
 * one takes messages again. */
static struct view_member *wait_for_leader(struct ctl *ctl, struct view *v, uint64_t above,
                                           bool handing, int64_t until_ms)
{
    for (;;) {
        struct view_member *m;

        view_refresh(ctl, v);
        m = view_leader(v);
        if (m && m->epoch > above && !m->draining)
            return m;
        if (clock_mono_ms() >= until_ms || (handing && m && m->epoch <= above && !m->draining))
            return NULL;
        poll(NULL, 0, GROUP_LOOK_MS);
    }
}

static uint64_t highest_epoch(const struct view *v)
{
    uint64_t highest = 0;

    for (unsigned i = 0; i < v->count; i++) {
        if (v->members[i].answers && v->members[i].epoch > highest)
            highest = v->members[i].epoch;
        if (v->members[i].answers && v->members[i].last_epoch > highest)
            highest = v->members[i].last_epoch;
    }
    return highest;
}

static void say_leader(struct ctl *ctl, const struct view *v, const struct view_member *m)
{
    buf_addf(&ctl->out,
             "member %" PRId64 " at %s is the master of %s: epoch %" PRIu64 ", log end %" PRId64
             "\n",
             m->id, m->address, v->broker, m->epoch, m->written);
    group_step(ctl);
}

/* --- ternctl promote --- */

static void say_members(struct ctl *ctl, struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        const struct view_member *m = &v->members[i];

        if (m->answers)
            buf_addf(&ctl->out,
                     "member %" PRId64 " at %s: %s, last epoch %" PRIu64 ", log end %" PRId64
                     ", confirmed %" PRId64 "%s\n",
                     m->id, m->address, m->role, m->last_epoch, m->written, m->confirmed,
                     m->doubtful ? "; it doubts its log, and its promise does not count" : "");
        else if (view_is_outsider(m))
            buf_addf(&ctl->out, "broker at %s: %s, not counted\n", m->address,
                     m->foreign ? m->why : "in no group");
        else if (m->id == 0)
            buf_addf(&ctl->out, "%s: no answer (%s)\n", m->address, m->why);
        else
            buf_addf(&ctl->out, "member %" PRId64 " at %s: no answer (%s)\n", m->id, m->address,
                     m->why);
    }
    group_step(ctl);
}

/* --to. NULL with ctl->err: it is not there. */
static struct view_member *named(struct ctl *ctl, struct view *v, int64_t id)
{
    struct view_member *m = view_member(v, id);

    if (!m)
        err_say(&ctl->err, TOOL_NOT_FOUND, "%s has no member %" PRId64, v->broker, id);
    else if (!m->answers)
        err_say(&ctl->err, TOOL_UNREACHABLE, "member %" PRId64 " of %s does not answer", id,
                v->broker);
    return m && m->answers ? m : NULL;
}

/* Says what is decided and from what. NULL with ctl->err: it cannot be done. */
static struct view_member *decide(struct ctl *ctl, struct view *v, const struct group_command *c)
{
    struct view_member *best = view_best(v, c->unclean), *leader = view_leader(v), *asks = best;
    unsigned promises = view_promises(v, c->unclean);

    if (c->to != GROUP_TO_UNSET) {
        asks = named(ctl, v, c->to);
        if (!asks)
            return NULL;
    }
    if (asks && asks == leader) {
        err_say(&ctl->err, TOOL_REFUSED, "member %" PRId64 " is the master already", asks->id);
        return NULL;
    }
    if (!asks || (!c->unclean && promises < (unsigned)v->promises_needed)) {
        err_say(&ctl->err, TOOL_REFUSED,
                "%" PRId64 " promises are needed, %u can be had: acknowledged messages may be with "
                "members that do not answer or doubt their logs. Start those, or accept the loss "
                "with --unclean (it says what that may be)",
                v->promises_needed, promises);
        return NULL;
    }
    if (leader)
        buf_addf(&ctl->out,
                 "member %" PRId64 " is alive and the master: its own promise ends that (for "
                 "planned work ternctl drain hands over without a failed send)\n",
                 leader->id);
    if (c->to == GROUP_TO_UNSET && asks == leader)
        return NULL;
    buf_addf(&ctl->out,
             "promises that can be had: %u, needed: %" PRId64 "; member %" PRId64
             " has the highest log\n",
             promises, v->promises_needed, best->id);
    if (asks != best && (asks->last_epoch != best->last_epoch || asks->written != best->written))
        buf_addf(&ctl->out, "so member %" PRId64 " will be started, not %" PRId64 "\n", best->id,
                 asks->id);
    if (view_promises(v, false) < (unsigned)v->promises_needed) {
        buf_add_str(&ctl->out, "this may lose:\n");
        view_losses(v, best, &ctl->out);
    } else if (c->unclean) {
        buf_add_str(&ctl->out,
                    "members enough answer and are sure of their logs: without --unclean nothing "
                    "that was acknowledged could be lost; with it the promotion goes on without a "
                    "promise that does not come\n");
    } else {
        buf_add_str(&ctl->out, "nothing that was acknowledged can be lost\n");
    }
    group_step(ctl);
    return asks;
}

static void say_promises(struct ctl *ctl, struct view *v, const struct view_member *asked)
{
    for (unsigned i = 0; i < asked->promise_count; i++) {
        const struct view_promise *p = &asked->promises[i];

        if (p->promised)
            buf_addf(&ctl->out,
                     "member %" PRId64 " promised: last epoch %" PRIu64 ", log end %" PRId64 "\n",
                     p->id, p->epoch, p->end);
    }
    (void)v;
}

static int promote(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct group_command c = no_command();
    const struct option_spec specs[] = {
        GROUP_OPTIONS(&c),
        GROUP_TO(&c, "this member asks for the promises, and is started if no log is higher"),
        {.name = "unclean",
         .kind = OPTION_FLAG,
         .to = &c.unclean,
         .help = "with the promises that can be had; acknowledged messages may be lost"},
        GROUP_WAIT(&c),
        CTL_COMMON_OPTIONS(ctl),
    };
    struct rpc_field fields[] = {{"unclean", "false"}};
    struct view_member *asks, *leader;
    struct view v;
    uint64_t above;
    int64_t until, id, replaced;
    int r = begin(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, &c, &v);

    if (r != CTL_GO_ON)
        return r;
    if (view_is_plain(&v))
        return plain_promote(ctl, &v, &c);
    say_members(ctl, &v);
    leader = view_leader(&v);
    replaced = leader ? leader->id : 0;
    if (leader && c.to == GROUP_TO_UNSET) {
        /* The one that is to be replaced does not ask. */
        struct view_member *other = NULL;

        for (unsigned i = 0; i < v.count; i++) {
            if (&v.members[i] != leader && v.members[i].answers && !v.members[i].doubtful &&
                (!other || v.members[i].written > other->written))
                other = &v.members[i];
        }
        if (other)
            c.to = other->id;
    }
    asks = decide(ctl, &v, &c);
    if (!asks)
        return ctl->err.code ? ctl->err.code : TOOL_REFUSED;
    id = asks->id;
    fields[0].value = c.unclean ? "true" : "false";
    above = highest_epoch(&v);
    until = clock_mono_ms() + c.wait_ms;
    r = group_call(ctl, &v, asks, "promote it", REQUEST_TERN_GROUP_PROMOTE, fields, 1);
    if (r != TOOL_DONE)
        return r;
    buf_addf(&ctl->out, "member %" PRId64 " asks for promises\n", id);
    group_step(ctl);
    leader = wait_for_leader(ctl, &v, above, false, until);
    asks = view_member(&v, id);
    if (asks)
        say_promises(ctl, &v, asks);
    if (!leader)
        return err_say(&ctl->err, TOOL_REFUSED, "nobody is the master after %.1f s%s%s",
                       (double)c.wait_ms / 1000, asks && asks->alarm[0] ? ": " : "",
                       asks ? asks->alarm : "");
    if (leader->id != id)
        buf_addf(&ctl->out,
                 "the log of member %" PRId64 " was the highest of those that promised, so that it "
                 "is started and not member %" PRId64 "%s\n",
                 leader->id, id,
                 leader->id == replaced ? "; to have another master use ternctl drain" : "");
    say_leader(ctl, &v, leader);
    return group_wait_for_routes(ctl, &v, leader, until);
}

int ctl_promote(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    return finish(ctl, promote(ctl, command, argc, argv));
}

/* --- ternctl drain, demote --- */

static int drain(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct group_command c = no_command();
    const struct option_spec specs[] = {
        GROUP_OPTIONS(&c),
        GROUP_TO(&c, "hand over to this member; default: whoever has everything first"),
        GROUP_WAIT(&c),
        CTL_COMMON_OPTIONS(ctl),
    };
    char to[24], wait[24];
    struct rpc_field fields[] = {{"to", to}, {"waitMillis", wait}};
    struct view_member *leader;
    struct view v;
    uint64_t above;
    int64_t until, from, began;
    int r = begin(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, &c, &v);

    if (r != CTL_GO_ON)
        return r;
    if (view_is_plain(&v))
        return err_say(&ctl->err, TOOL_REFUSED,
                       "the brokers called %s are in no group (groupMembers), and hand nothing "
                       "over: stop the master, then ternctl promote",
                       v.broker);
    say_members(ctl, &v);
    leader = view_leader(&v);
    if (!leader)
        return err_say(&ctl->err, TOOL_REFUSED,
                       "%s has no master that could hand over; see ternctl promote", v.broker);
    from = leader->id;
    if (c.to == from)
        return err_say(&ctl->err, TOOL_REFUSED, "member %" PRId64 " is the master already", from);
    /* There would be no sends for as long as one that hangs is waited for. */
    if (c.to != GROUP_TO_UNSET && !named(ctl, &v, c.to))
        return ctl->err.code;
    if (!view_has_other(&v, leader))
        return err_say(&ctl->err, TOOL_REFUSED,
                       "no other member of %s answers: there is none to hand over to", v.broker);
    snprintf(to, sizeof(to), "%" PRId64, c.to == GROUP_TO_UNSET ? 0 : c.to);
    snprintf(wait, sizeof(wait), "%" PRId64, c.wait_ms);
    above = highest_epoch(&v);
    until = clock_mono_ms() + c.wait_ms;
    r = group_call(ctl, &v, leader, "let it hand over", REQUEST_TERN_GROUP_HAND_OVER, fields, 2);
    if (r != TOOL_DONE)
        return r;
    buf_addf(&ctl->out, "member %" PRId64 " takes no more messages until %s has everything\n", from,
             c.to == GROUP_TO_UNSET ? "another" : "that member");
    group_step(ctl);
    began = clock_mono_ms();
    leader = wait_for_leader(ctl, &v, above, true, until);
    if (!leader) {
        double waited = (double)(clock_mono_ms() - began) / 1000;
        const struct view_member *old = view_member(&v, from);

        if (old && old->answers && strcmp(old->role, "master") == 0)
            return err_say(&ctl->err, TOOL_REFUSED,
                           "nobody has taken over within %.1f s; member %" PRId64
                           " goes on as the master",
                           waited, from);
        return err_say(&ctl->err, TOOL_REFUSED,
                       "nobody has taken over within %.1f s, and member %" PRId64
                       " is the master no more; make one with ternctl promote",
                       waited, from);
    }
    say_leader(ctl, &v, leader);
    return group_wait_for_routes(ctl, &v, leader, until);
}

int ctl_drain(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    return finish(ctl, drain(ctl, command, argc, argv));
}

static int demote(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct group_command c = no_command();
    const struct option_spec specs[] = {GROUP_OPTIONS(&c), CTL_COMMON_OPTIONS(ctl)};
    struct view_member *leader;
    struct view v;
    int r = begin(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, &c, &v);

    if (r != CTL_GO_ON)
        return r;
    if (view_is_plain(&v))
        return plain_demote(ctl, &v, &c);
    leader = view_leader(&v);
    if (!leader)
        return err_say(&ctl->err, TOOL_REFUSED, "%s has no master", v.broker);
    r = group_call(ctl, &v, leader, "let it step down", REQUEST_TERN_GROUP_STEP_DOWN, NULL, 0);
    if (r != TOOL_DONE)
        return r;
    buf_addf(&ctl->out,
             "member %" PRId64 " at %s takes no messages any more, and does not again by itself; "
             "ternctl promote makes a master\n",
             leader->id, leader->address);
    return TOOL_DONE;
}

int ctl_demote(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    return finish(ctl, demote(ctl, command, argc, argv));
}
