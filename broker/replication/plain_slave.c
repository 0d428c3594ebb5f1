/* plain_slave.c - see plain_slave.h. */
#include "broker/replication/plain_slave.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/registrar.h"
#include "broker/replication/slave_metadata.h"
#include "common/dial.h"
#include "common/log.h"

struct plain_slave {
    struct broker *broker;
    /* NULL: not started yet. */
    struct ha_slave *_Atomic slave;
    struct slave_metadata *_Atomic metadata;
    pthread_mutex_t place_lock;
    struct ha_master_place told; /* place_lock; by a name server; empty: not yet */
};

/* --- where the master is --- */

static bool find_master(void *ctx, struct ha_master_place *out)
{
    struct plain_slave *s = ctx;
    const char *fixed = s->broker->settings->config.ha_master_address;

    pthread_mutex_lock(&s->place_lock);
    *out = s->told;
    pthread_mutex_unlock(&s->place_lock);
    if (fixed[0] != '\0')
        snprintf(out->ha, sizeof(out->ha), "%s", fixed);
    /* No name server has said where the main port is: RocketMQ's brokers have it one below. */
    if (out->main[0] == '\0' && !dial_below(out->ha, 1, out->main, sizeof(out->main)))
        out->main[0] = '\0';
    return out->ha[0] != '\0';
}

static bool find_main_port(void *ctx, char *main, size_t size)
{
    struct ha_master_place place;

    if (!find_master(ctx, &place) || place.main[0] == '\0')
        return false;
    snprintf(main, size, "%s", place.main);
    return true;
}

static void ask_where(void *ctx)
{
    struct plain_slave *s = ctx;

    registrar_ask(s->broker->registrar);
}

static void on_news(void *ctx)
{
    struct plain_slave *s = ctx;
    struct slave_metadata *metadata = atomic_load(&s->metadata);

    if (metadata)
        slave_metadata_call(metadata);
}

static void on_master_log(void *ctx, const struct ha_master_log *log)
{
    struct plain_slave *s = ctx;
    struct ha_slave *slave = atomic_load(&s->slave);

    if (slave)
        ha_slave_heard(slave, log);
}

static void on_topics(void *ctx)
{
    struct plain_slave *s = ctx;

    registrar_changed(s->broker->registrar);
}

void plain_slave_told(struct plain_slave *s, struct bytes main, struct bytes ha)
{
    struct ha_slave *slave = atomic_load(&s->slave);
    struct ha_master_place place = {.main = ""};
    struct dial_address parsed;
    bool changed;

    if (main.len == 0 || ha.len == 0)
        return;
    if (!bytes_to_cstr(main, place.main, sizeof(place.main)) ||
        !bytes_to_cstr(ha, place.ha, sizeof(place.ha)) ||
        dial_parse(&parsed, place.main, NULL) < 0 || dial_parse(&parsed, place.ha, NULL) < 0) {
        log_warn_limited("where the master is",
                         "a name server says that the master is at \"%s\" and \"%s\", which are no "
                         "addresses",
                         SAFE(main), SAFE(ha));
        return;
    }
    pthread_mutex_lock(&s->place_lock);
    changed = strcmp(s->told.main, place.main) != 0 || strcmp(s->told.ha, place.ha) != 0;
    s->told = place;
    pthread_mutex_unlock(&s->place_lock);
    if (!changed)
        return;
    log_info("the master is at %s, its replication port at %s", place.main, place.ha);
    if (slave)
        ha_slave_call(slave);
    on_news(s);
}

/* --- life --- */

static int start(struct plain_slave *s, struct err *err)
{
    struct broker *b = s->broker;
    const struct broker_config *c = &b->settings->config;
    struct slave_metadata_options metadata_options = {
        .metadata = b->metadata,
        .interval_ms = c->slave_metadata_interval,
        .find_master = find_main_port,
        .on_log = on_master_log,
        .on_topics = on_topics,
        .ctx = s,
    };
    struct ha_slave_options options = {
        .store = b->store,
        .metadata = b->metadata,
        .store_dir = c->store_path_root_dir,
        .source = c->bind_address,
        .heartbeat_ms = c->ha_send_heartbeat_interval,
        .housekeeping_ms = c->ha_housekeeping_interval,
        .whole = c->ha_fresh_slave_from == FRESH_FROM_MIN,
        .find_master = find_master,
        .ask = ask_where,
        .on_news = on_news,
        .ctx = s,
    };
    struct slave_metadata *metadata;
    struct ha_slave *slave;
    int r = slave_metadata_new(&metadata, &metadata_options, err);

    if (r < 0)
        return r;
    atomic_store(&s->metadata, metadata);
    r = ha_slave_new(&slave, &options, err);
    if (r == 0)
        atomic_store(&s->slave, slave);
    return r;
}

int plain_slave_new(struct plain_slave **out, struct broker *b, struct err *err)
{
    struct plain_slave *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return err_set(err, -ENOMEM, "follow a master");
    s->broker = b;
    pthread_mutex_init(&s->place_lock, NULL);
    r = start(s, err);
    if (r < 0)
        s = plain_slave_free(s);
    *out = s;
    return r;
}

void plain_slave_stop(struct plain_slave *s)
{
    if (!s)
        return;
    ha_slave_stop(atomic_load(&s->slave));
    slave_metadata_stop(atomic_load(&s->metadata));
}

struct plain_slave *plain_slave_free(struct plain_slave *s)
{
    if (!s)
        return NULL;
    plain_slave_stop(s);
    ha_slave_free(atomic_load(&s->slave));
    slave_metadata_free(atomic_load(&s->metadata));
    pthread_mutex_destroy(&s->place_lock);
    free(s);
    return NULL;
}

/* --- what is asked of it --- */

void plain_slave_progress(struct plain_slave *s)
{
    struct ha_slave *slave = atomic_load_explicit(&s->slave, memory_order_acquire);

    if (slave)
        ha_slave_progress(slave);
}

void plain_slave_status(struct plain_slave *s, struct ha_slave_status *out,
                        int64_t *metadata_age_ms)
{
    ha_slave_status(atomic_load(&s->slave), out);
    *metadata_age_ms = slave_metadata_age_ms(atomic_load(&s->metadata));
}

int plain_slave_may_lead(struct plain_slave *s, struct err *err)
{
    struct ha_slave_status status;
    uint64_t end = store_end(s->broker->store);

    ha_slave_status(atomic_load(&s->slave), &status);
    if (status.silent_ms >= 0)
        return err_say(err, -EBUSY,
                       "its master at %s is connected, last heard %" PRId64
                       " ms ago; stop that one first, or two brokers take messages",
                       status.master.main, status.silent_ms);
    if (status.master_is_member)
        return err_say(err, -EPERM,
                       "its master at %s is a member of a group, and this slave is none: start "
                       "members, and promote one of those",
                       status.master.main);
    if (status.trouble != HA_SLAVE_NO_MASTER)
        return err_say(err, -ENODATA,
                       "its log is not that of its master at %s (%s; the log of this broker says "
                       "more)",
                       status.trouble_with.main, ha_slave_state_names[status.trouble]);
    if (status.state == HA_SLAVE_STOPPED)
        return err_say(err, -ENODATA, "its store takes no more writes");
    if (end == store_min(s->broker->store))
        return err_say(err, -ENODATA, "its log is empty: nothing of its master's has come here");
    if (status.master_end == 0)
        return err_say(err, -ENODATA,
                       "it has not heard its master since it was started: whether something is "
                       "missing is not known");
    if (status.master_end > end)
        return err_say(err, -ENODATA,
                       "its master's log went to %" PRIu64 " when it was last heard, and this "
                       "one's to %" PRIu64 ": %" PRIu64 " bytes are missing",
                       status.master_end, end, status.master_end - end);
    return 0;
}
