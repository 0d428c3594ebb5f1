/* clients.c - connections, their groups, the groups' subscriptions: how they come and go. See
 * clients.h; looking at them is clients_look.c.
 */
#include "broker/clients_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

struct clients *clients_new(struct broker *b, const struct clients_bounds *bounds)
{
    struct clients *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->broker = b;
    c->bounds = bounds
                    ? *bounds
                    : (struct clients_bounds){CLIENTS_MAX, MEMBERSHIPS_MAX, SUBSCRIPTION_BYTES_MAX};
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* --- groups and subscriptions --- */

static char *copy_text(struct bytes b)
{
    return strndup(b.at ? (const char *)b.at : "", b.len);
}

/* What it takes, more or less. */
static size_t subscription_bytes(const struct subscription *s)
{
    return sizeof(*s) + strlen(s->topic) + (s->sub_string ? strlen(s->sub_string) : 0) +
           (s->expression_type ? strlen(s->expression_type) : 0) +
           (s->filter.many ? s->filter.count * sizeof(*s->filter.many) : 0);
}

static void subscription_free(struct clients *c, const struct group *g, struct subscription *s)
{
    c->subscription_bytes -= subscription_bytes(s);
    atomic_fetch_add(&c->changes[g->counter], 1);
    free(s->topic);
    free(s->sub_string);
    free(s->expression_type);
    tag_filter_destroy(&s->filter);
    free(s);
}

static struct group *make_group(struct clients *c, struct bytes name, bool consumers)
{
    struct group **table = consumers ? &c->consumers : &c->producers;
    struct group *g = clients_find_group(*table, name);

    if (g)
        return g;
    g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->name = copy_text(name);
    if (!g->name) {
        free(g);
        return NULL;
    }
    g->consumers = consumers;
    g->counter = (uint32_t)bytes_java_hash(name) % SUBSCRIPTION_COUNTERS;
    HASH_ADD_KEYPTR(hh, *table, g->name, name.len, g);
    return g;
}

static void release_group(struct clients *c, struct group *g)
{
    struct group **table = g->consumers ? &c->consumers : &c->producers;
    struct subscription *s, *next;

    if (g->members > 0)
        return;
    HASH_DELETE(hh, *table, g);
    HASH_ITER(hh, g->subscriptions, s, next)
    {
        HASH_DELETE(hh, g->subscriptions, s);
        subscription_free(c, g, s);
    }
    free(g->name);
    free(g);
}

/* --- age --- */

static void age_unlink(struct clients *c, struct membership *m)
{
    if (m->older)
        m->older->newer = m->newer;
    else
        c->oldest = m->newer;
    if (m->newer)
        m->newer->older = m->older;
    else
        c->newest = m->older;
    m->older = m->newer = NULL;
}

static void age_append(struct clients *c, struct membership *m)
{
    m->heard_ms = clock_mono_ms();
    m->older = c->newest;
    if (c->newest)
        c->newest->newer = m;
    else
        c->oldest = m;
    c->newest = m;
}

static void expire(void *ctx);

/* On loop 0. */
static void arm(struct loop_message *message)
{
    struct clients *c = message->ctx;

    if (!c->timer_ready) {
        loop_timer_init(&c->timer, c->broker->loops[0], expire, c);
        c->timer_ready = true;
    }
    expire(c);
}

static void want_timer(struct clients *c)
{
    if (c->timer_armed)
        return;
    if (loop_post(c->broker->loops[0], &(struct loop_message){.run = arm, .ctx = c}) == 0)
        c->timer_armed = true;
}

/* --- channels --- */

static struct channel *find_channel(struct clients *c, conn_id conn)
{
    struct channel *ch;

    HASH_FIND(hh, c->channels, &conn, sizeof(conn), ch);
    return ch;
}

static int touch_channel(struct clients *c, const struct client_identity *who, struct channel **out)
{
    struct channel *ch = find_channel(c, who->conn);

    if (ch && !bytes_is(who->client_id, ch->client_id)) {
        char *id = copy_text(who->client_id); /* the same connection, renamed */

        if (!id)
            return -ENOMEM;
        free(ch->client_id);
        ch->client_id = id;
    }
    if (!ch) {
        if (HASH_COUNT(c->channels) >= c->bounds.connections)
            return -ENOSPC;
        ch = calloc(1, sizeof(*ch));
        if (!ch)
            return -ENOMEM;
        ch->client_id = copy_text(who->client_id);
        if (!ch->client_id) {
            free(ch);
            return -ENOMEM;
        }
        ch->conn = who->conn;
        HASH_ADD(hh, c->channels, conn, sizeof(ch->conn), ch);
    }
    snprintf(ch->peer, sizeof(ch->peer), "%s", who->peer);
    ch->language = who->language;
    ch->version = who->version;
    ch->heard_wall_ms = clock_wall_ms();
    *out = ch;
    return 0;
}

static void release_channel(struct clients *c, struct channel *ch)
{
    if (ch->groups > 0)
        return;
    HASH_DELETE(hh, c->channels, ch);
    free(ch->client_id);
    free(ch);
}

/* --- memberships --- */

/* In the shorter of the two lists: one connection may be in thousands of groups, or thousands in
 * one group. */
static struct membership *find_membership(struct channel *ch, const struct group *g)
{
    struct membership *m;

    if (g->members < ch->groups) {
        for (m = g->first; m && m->channel != ch;)
            m = m->group_next;
    } else {
        for (m = ch->first; m && m->group != g;)
            m = m->channel_next;
    }
    return m;
}

static int join(struct clients *c, struct channel *ch, struct group *g, bool *came)
{
    struct membership *m = find_membership(ch, g);

    *came = false;
    want_timer(c);
    if (m) {
        age_unlink(c, m);
        age_append(c, m);
        return 0;
    }
    if (ch->groups >= CLIENT_GROUPS_MAX || c->memberships >= c->bounds.memberships)
        return -ENOSPC;
    m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->channel = ch;
    m->group = g;
    m->channel_next = ch->first;
    if (ch->first)
        ch->first->channel_previous = m;
    ch->first = m;
    ch->groups++;
    m->group_next = g->first;
    if (g->first)
        g->first->group_previous = m;
    g->first = m;
    g->members++;
    c->memberships++;
    age_append(c, m);
    *came = true;
    return 0;
}

static void leave(struct clients *c, struct membership *m)
{
    struct channel *ch = m->channel;
    struct group *g = m->group;

    if (m->channel_previous)
        m->channel_previous->channel_next = m->channel_next;
    else
        ch->first = m->channel_next;
    if (m->channel_next)
        m->channel_next->channel_previous = m->channel_previous;
    if (m->group_previous)
        m->group_previous->group_next = m->group_next;
    else
        g->first = m->group_next;
    if (m->group_next)
        m->group_next->group_previous = m->group_previous;
    age_unlink(c, m);
    ch->groups--;
    g->members--;
    c->memberships--;
    free(m);
}

int clients_add_producer(struct clients *c, const struct client_identity *who, struct bytes group)
{
    struct channel *ch;
    struct group *g;
    bool came;
    int r;

    pthread_mutex_lock(&c->lock);
    r = touch_channel(c, who, &ch);
    if (r == 0) {
        g = make_group(c, group, false);
        r = g ? join(c, ch, g, &came) : -ENOMEM;
        if (r < 0) {
            if (g)
                release_group(c, g);
            release_channel(c, ch);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static struct subscription *make_subscription(struct clients *c, struct group *g,
                                              struct bytes topic)
{
    struct subscription *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->topic = copy_text(topic);
    if (!s->topic) {
        free(s);
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, g->subscriptions, s->topic, topic.len, s);
    c->subscription_bytes += subscription_bytes(s);
    return s;
}

/* A new version alone is no change: clients count it up whenever they balance. */
static bool same_filter(const struct subscription *s, const struct client_subscription_data *data)
{
    return bytes_is(data->sub_string, s->sub_string) &&
           bytes_is(data->expression_type, s->expression_type) &&
           data->class_filter_mode == s->class_filter_mode &&
           tag_filter_equal(&data->filter, &s->filter);
}

/* *came: the topic is new. */
static int store_subscription(struct clients *c, struct group *g,
                              struct client_subscription_data *data, bool *came)
{
    struct subscription *s;
    size_t bytes = sizeof(*s) + data->topic.len + data->sub_string.len + data->expression_type.len +
                   data->filter.count * sizeof(int32_t);
    char *text, *type;

    HASH_FIND(hh, g->subscriptions, data->topic.at, data->topic.len, s);
    if (s && data->version <= s->version)
        return 0;
    if (c->subscription_bytes - (s ? subscription_bytes(s) : 0) + bytes >
            c->bounds.subscription_bytes ||
        (!s && HASH_COUNT(g->subscriptions) >= SUBSCRIPTIONS_MAX))
        return -ENOSPC;
    text = copy_text(data->sub_string);
    type = copy_text(data->expression_type);
    if (text && type && !s) {
        s = make_subscription(c, g, data->topic);
        *came |= s != NULL;
    }
    if (!text || !type || !s) {
        free(text);
        free(type);
        return -ENOMEM;
    }
    c->subscription_bytes -= subscription_bytes(s);
    if (s->sub_string && !same_filter(s, data))
        atomic_fetch_add(&c->changes[g->counter], 1);
    free(s->sub_string);
    free(s->expression_type);
    s->sub_string = text;
    s->expression_type = type;
    s->version = data->version;
    s->class_filter_mode = data->class_filter_mode;
    tag_filter_destroy(&s->filter);
    s->filter = data->filter;
    memset(&data->filter, 0, sizeof(data->filter));
    c->subscription_bytes += subscription_bytes(s);
    return 0;
}

/* The group's subscriptions become those of this heartbeat. What it does not name goes first, to
 * make room; when there is none the rest stays out. */
static int replace_subscriptions(struct clients *c, struct group *g,
                                 struct client_consumer *consumer, bool *changed)
{
    struct subscription *s, *next;
    int r = 0;

    for (s = g->subscriptions; s; s = s->hh.next)
        s->named = false;
    for (size_t i = 0; i < consumer->subscription_count; i++) {
        struct bytes topic = consumer->subscriptions[i].topic;

        HASH_FIND(hh, g->subscriptions, topic.at, topic.len, s);
        if (s)
            s->named = true;
    }
    HASH_ITER(hh, g->subscriptions, s, next)
    {
        if (s->named)
            continue;
        HASH_DELETE(hh, g->subscriptions, s);
        subscription_free(c, g, s);
        *changed = true;
    }
    for (size_t i = 0; i < consumer->subscription_count && r == 0; i++)
        r = store_subscription(c, g, &consumer->subscriptions[i], changed);
    return r;
}

int clients_add_consumer(struct clients *c, const struct client_identity *who,
                         struct client_consumer *consumer, bool *changed)
{
    struct channel *ch;
    struct group *g;
    bool came = false;
    int r;

    *changed = false;
    pthread_mutex_lock(&c->lock);
    r = touch_channel(c, who, &ch);
    if (r < 0)
        goto out;
    g = make_group(c, consumer->group, true);
    r = g ? join(c, ch, g, &came) : -ENOMEM;
    if (r == 0) {
        g->type = consumer->type;
        g->model = consumer->model;
        g->from_where = consumer->from_where;
        r = replace_subscriptions(c, g, consumer, changed);
        if (r == 0)
            *changed |= came;
        else if (came) /* the others would leave queues to one that cannot pull */
            leave(c, find_membership(ch, g));
    }
    if (r < 0) {
        if (g)
            release_group(c, g);
        release_channel(c, ch);
    }
out:
    pthread_mutex_unlock(&c->lock);
    return r;
}

static bool remove_from(struct clients *c, conn_id conn, struct bytes group, bool consumers)
{
    struct membership *m = NULL;
    struct channel *ch;
    struct group *g;

    pthread_mutex_lock(&c->lock);
    ch = find_channel(c, conn);
    g = clients_find_group(consumers ? c->consumers : c->producers, group);
    if (ch && g)
        m = find_membership(ch, g);
    if (m) {
        leave(c, m);
        release_group(c, g);
        release_channel(c, ch);
    }
    pthread_mutex_unlock(&c->lock);
    return m != NULL;
}

bool clients_remove_producer(struct clients *c, conn_id conn, struct bytes group)
{
    return remove_from(c, conn, group, false);
}

bool clients_remove_consumer(struct clients *c, conn_id conn, struct bytes group)
{
    return remove_from(c, conn, group, true);
}

/* --- notification --- */

void clients_notify(struct clients *c, struct bytes group)
{
    struct group_config config;
    struct remoting_meta meta = {
        .code = REQUEST_NOTIFY_CONSUMER_IDS_CHANGED,
        .flag = REMOTING_FLAG_ONEWAY,
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = REMOTING_JSON,
        .has_fields = true,
    };
    struct remoting_writer w;
    struct buf frame = {0};
    conn_id *ids = NULL;
    unsigned count = 0;
    struct group *g;

    if (metadata_group(c->broker->metadata, group, &config) && !config.notify_ids_changed)
        return;
    pthread_mutex_lock(&c->lock);
    g = clients_find_group(c->consumers, group);
    /* Another loop may have ended already, with connections that the next broker will have. */
    if (g && broker_is_draining(c->broker))
        g->untold = true;
    else if (g)
        ids = malloc(g->members * sizeof(*ids));
    if (ids) {
        for (const struct membership *m = g->first; m; m = m->group_next)
            ids[count++] = m->channel->conn;
    }
    pthread_mutex_unlock(&c->lock);
    if (count > 0) {
        remoting_begin(&w, &frame, &meta);
        remoting_put(&w, "consumerGroup", group);
        remoting_end(&w);
        for (unsigned i = 0; i < count && !frame.failed; i++)
            broker_send(c->broker, ids[i], buf_bytes(&frame));
        buf_destroy(&frame);
    }
    free(ids);
}

/* Its members are to be told: it is named in *left (0-terminated names in a row), once a round. */
static void name_group(const struct clients *c, struct group *g, struct buf *left)
{
    if (g->left_in == c->round)
        return;
    buf_add(left, g->name, strlen(g->name) + 1);
    g->left_in = c->round;
}

/* Takes one out; the consumer groups where others stay are named in *left. The channel goes with
 * its last group. Under the lock. */
static void remove_member(struct clients *c, struct membership *m, struct buf *left)
{
    struct channel *ch = m->channel;
    struct group *g = m->group;

    if (g->consumers && g->members > 1)
        name_group(c, g, left);
    leave(c, m);
    release_group(c, g);
    release_channel(c, ch);
}

static void notify_left(struct clients *c, struct buf *left)
{
    struct bytes rest = buf_bytes(left);

    while (rest.len > 0) {
        size_t len = strlen((const char *)rest.at);

        clients_notify(c, bytes_of(rest.at, len));
        rest.at += len + 1;
        rest.len -= len + 1;
    }
    buf_destroy(left);
}

void clients_closed(struct clients *c, conn_id conn)
{
    struct buf left = {0};
    struct channel *ch;

    pthread_mutex_lock(&c->lock);
    c->round++;
    ch = find_channel(c, conn);
    for (unsigned groups = ch ? ch->groups : 0; groups > 0; groups--)
        remove_member(c, ch->first, &left);
    pthread_mutex_unlock(&c->lock);
    notify_left(c, &left);
}

/* --- from one broker to the next --- */

void clients_part(struct clients *c)
{
    c->broker = NULL;
    c->timer_ready = c->timer_armed = false; /* or a message for it: they went with loop 0 */
}

void clients_join(struct clients *c, struct broker *b)
{
    c->broker = b;
}

void clients_move(struct clients *c, const struct conn_move *moves, size_t count)
{
    struct channel *stay = NULL;
    struct buf left = {0};

    pthread_mutex_lock(&c->lock);
    c->round++;
    for (size_t i = 0; i < count; i++) {
        struct channel *ch = find_channel(c, moves[i].from);

        if (!ch)
            continue;
        HASH_DELETE(hh, c->channels, ch);
        ch->conn = moves[i].to;
        HASH_ADD(hh, stay, conn, sizeof(ch->conn), ch);
    }
    while (c->channels)
        remove_member(c, c->channels->first, &left);
    c->channels = stay;
    for (struct group *g = c->consumers; g; g = g->hh.next) {
        if (g->untold)
            name_group(c, g, &left);
        g->untold = false;
    }
    /* What they sent meanwhile has not been read. */
    for (struct membership *m = c->oldest; m; m = m->newer)
        m->heard_ms = clock_mono_ms();
    if (c->oldest)
        want_timer(c);
    pthread_mutex_unlock(&c->lock);
    notify_left(c, &left);
}

/* Loop 0: drops who has been silent too long, and waits for the next. */
static void expire(void *ctx)
{
    struct clients *c = ctx;
    int64_t now = clock_mono_ms();
    struct buf left = {0};

    pthread_mutex_lock(&c->lock);
    c->round++;
    while (c->oldest && now - c->oldest->heard_ms >= CLIENT_SILENCE_MS) {
        const struct membership *m = c->oldest;

        log_debug("client %s (%s) sent no heartbeat for group %s for %d s",
                  SAFE(bytes_str(m->channel->client_id)), m->channel->peer, m->group->name,
                  CLIENT_SILENCE_MS / 1000);
        remove_member(c, c->oldest, &left);
    }
    c->timer_armed =
        c->oldest && loop_timer_set(&c->timer, c->oldest->heard_ms + CLIENT_SILENCE_MS) == 0;
    pthread_mutex_unlock(&c->lock);
    notify_left(c, &left);
}

struct clients *clients_free(struct clients *c)
{
    if (!c)
        return NULL;
    while (c->oldest) {
        struct buf left = {0};

        remove_member(c, c->oldest, &left);
        buf_destroy(&left);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}
