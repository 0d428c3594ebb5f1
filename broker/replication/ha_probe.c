/* ha_probe.c - see ha_probe.h. */
#include "broker/replication/ha_probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/replication/ha_frames.h"
#include "common/codes.h"
#include "common/json.h"

enum { RUNTIME_INFO_MAX = 1 << 20 };

/* --- what the master is asked --- */

static int64_t number_of(const json_t *table, const char *key)
{
    return json_get_i64(table, key, -1);
}

static int read_log(const json_t *table, struct ha_master_log *out, struct err *err)
{
    int64_t min = number_of(table, "commitLogMinOffset");
    int64_t max = number_of(table, "commitLogMaxOffset");
    int64_t written = number_of(table, "ternCommitLogWritten");

    if (max < 0 || written < max)
        written = max;
    if (min < 0 || max < 0 || written < min)
        return err_say(err, -EPROTO, "it says that its log goes from %" PRId64 " to %" PRId64, min,
                       max);
    *out = (struct ha_master_log){
        .min = (uint64_t)min,
        .written = (uint64_t)written,
        .confirmed = (uint64_t)(max < min ? min : max),
        .tern = json_get_str(table, "ternVersion").len > 0,
        .member = number_of(table, "ternMember") > 0,
    };
    return 0;
}

int ha_ask_log(struct rpc *master, int timeout_ms, struct ha_master_log *out, struct err *err)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_RUNTIME_INFO};
    struct remoting_frame reply;
    json_t *root;
    int r = rpc_call(master, &request, timeout_ms, &reply, err);

    if (r < 0)
        return r;
    if (reply.code != RESPONSE_SUCCESS || reply.body.len > RUNTIME_INFO_MAX)
        return err_say(err, -EPROTO, "master %s does not say how far its log goes (code %d)",
                       rpc_address(master), reply.code);
    root = json_dialect_load(reply.body, err);
    if (!root)
        return -EPROTO;
    r = read_log(json_object_get(root, "table"), out, err);
    json_decref(root);
    return r;
}

/* The message that the master has at a log offset, borrowed until the next call. -ENOENT: none. */
static int ask_message(struct rpc *master, uint64_t offset, int timeout_ms, struct bytes *out,
                       struct err *err)
{
    char text[24];
    struct rpc_field field = {"offset", text};
    struct rpc_request request = {
        .code = REQUEST_VIEW_MESSAGE_BY_ID, .fields = &field, .field_count = 1};
    struct remoting_frame reply;
    int r;

    snprintf(text, sizeof(text), "%" PRIu64, offset);
    r = rpc_call(master, &request, timeout_ms, &reply, err);
    if (r < 0)
        return r;
    if (reply.code == RESPONSE_SYSTEM_BUSY)
        return err_say(err, -EBUSY, "master %s is busy", rpc_address(master));
    if (reply.code != RESPONSE_SUCCESS || reply.body.len == 0)
        return err_say(err, -ENOENT, "master %s has no message at log offset %" PRIu64,
                       rpc_address(master), offset);
    *out = reply.body;
    return 0;
}

/* --- logs that have parted --- */

struct logs {
    struct store *store;
    const char *dir;
    struct rpc *master;
    int timeout_ms;
    const struct ha_master_log *log;
    uint64_t end; /* of ours */
    struct err *err;
};

/* What to do is the same in all cases. */
static int apart(const struct logs *l, const char *how, uint64_t at)
{
    return err_say(l->err, HA_APART,
                   "not following master %s: %s %" PRIu64 ". Its log goes from %" PRIu64
                   " to %" PRIu64 ", the one of %.120s to %" PRIu64
                   ". Find out which is right; to give up what is here, stop this broker, move its "
                   "store away and start it with an empty one",
                   rpc_address(l->master), how, at, l->log->min, l->log->written, l->dir, l->end);
}

static int compare_last(const struct logs *l)
{
    uint64_t limit = l->end < l->log->confirmed ? l->end : l->log->confirmed, at;
    struct buf ours = {0};
    struct record record;
    struct bytes theirs;
    int r = store_record_before(l->store, limit, &at, l->err);

    if (r == -ENOENT)
        return 0; /* no message here that could differ */
    if (r < 0)
        return r;
    if (at < l->log->min)
        return apart(l, "it no longer has the message that is the last one here, at log offset",
                     at);
    r = store_read_record(l->store, at, &ours, &record);
    if (r < 0) {
        buf_destroy(&ours);
        return err_set(l->err, r == -ENOENT ? -EIO : r, "read the message at log offset %" PRIu64,
                       at);
    }
    r = ask_message(l->master, at, l->timeout_ms, &theirs, l->err);
    if (r == -ENOENT)
        r = apart(l, "it has no message where the last one here is, at log offset", at);
    else if (r == 0 && !bytes_equal(theirs, buf_bytes(&ours)))
        r = apart(l, "the last message here is another one there, at log offset", at);
    buf_destroy(&ours);
    return r;
}

/* --- an empty store --- */

/* A master of RocketMQ whose log begins at 0 cannot be asked for it by a report. */
static int take_first(const struct logs *l, struct ha_start *out)
{
    struct bytes message;
    size_t taken;
    int r = ask_message(l->master, 0, l->timeout_ms, &message, l->err);

    if (r == -ENOENT)
        return 0; /* deleted meanwhile: it begins with its last file */
    if (r == 0)
        r = store_follow(l->store, 0, message, &taken, l->err);
    if (r == 0)
        out->report = out->next = store_follow_end(l->store);
    return r;
}

static int begin(const struct logs *l, bool whole, struct ha_start *out)
{
    const struct ha_master_log *log = l->log;

    *out = (struct ha_start){.next = HA_ANY_OFFSET};
    if (!whole || log->tern || log->written == log->min)
        return 0;
    if (log->min == 0)
        return take_first(l, out);
    if (log->min % (uint64_t)store_segment_bytes(l->store) == 0)
        out->report = out->next = log->min;
    return 0;
}

int ha_probe(struct store *store, const char *store_dir, struct rpc *master, bool whole,
             int timeout_ms, struct ha_master_log *log, struct ha_start *out, struct err *err)
{
    struct logs l = {store, store_dir, master, timeout_ms, log, store_follow_end(store), err};
    int r = ha_ask_log(master, timeout_ms, log, err);

    if (r < 0)
        return r;
    if (l.end == 0)
        return begin(&l, whole, out);
    *out = (struct ha_start){l.end, l.end};
    if (l.end > log->written)
        return apart(&l, "it has less than this broker: nothing behind log offset", log->written);
    if (l.end < log->min)
        return apart(&l, "it has deleted what comes next here, at log offset", l.end);
    return compare_last(&l);
}
