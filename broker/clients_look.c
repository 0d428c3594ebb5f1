/* clients_look.c - what the table of clients says. See clients.h. */
#include "broker/clients_internal.h"

enum client_subscription clients_subscription(struct clients *c, struct bytes group,
                                              struct bytes topic, int64_t version,
                                              struct tag_filter *filter,
                                              struct client_group_facts *facts)
{
    enum client_subscription result = CLIENT_NO_GROUP;
    struct subscription *s = NULL;
    struct group *g;

    pthread_mutex_lock(&c->lock);
    g = clients_find_group(c->consumers, group);
    if (g) {
        HASH_FIND(hh, g->subscriptions, topic.at, topic.len, s);
        result = CLIENT_NO_TOPIC;
        facts->broadcasting = g->model == MODEL_BROADCASTING;
    }
    if (s) {
        result = s->version < version ? CLIENT_OLDER : CLIENT_SUBSCRIBED;
        facts->subscription_version = s->version;
        facts->mark = (struct subscription_mark){
            .taken = true, .counter = g->counter, .changes = atomic_load(&c->changes[g->counter])};
        facts->sql = strcmp(s->expression_type, "TAG") != 0;
        if (result == CLIENT_SUBSCRIBED && tag_filter_copy(filter, &s->filter) < 0)
            result = CLIENT_NO_TOPIC;
    }
    pthread_mutex_unlock(&c->lock);
    return result;
}

bool clients_changed(const struct clients *c, const struct subscription_mark *since)
{
    return since->taken && since->changes != atomic_load(&c->changes[since->counter]);
}

void clients_each_group_of_topic(struct clients *c, struct bytes topic,
                                 void (*each)(void *ctx, struct bytes group), void *ctx)
{
    struct group *g, *next;

    pthread_mutex_lock(&c->lock);
    HASH_ITER(hh, c->consumers, g, next)
    {
        struct subscription *s;

        HASH_FIND(hh, g->subscriptions, topic.at, topic.len, s);
        if (s)
            each(ctx, bytes_str(g->name));
    }
    pthread_mutex_unlock(&c->lock);
}

bool clients_group_online(struct clients *c, struct bytes group)
{
    bool online;

    pthread_mutex_lock(&c->lock);
    online = clients_find_group(c->consumers, group) != NULL;
    pthread_mutex_unlock(&c->lock);
    return online;
}

bool clients_group_subscribes(struct clients *c, struct bytes group, struct bytes topic)
{
    struct subscription *s = NULL;
    struct group *g;

    pthread_mutex_lock(&c->lock);
    g = clients_find_group(c->consumers, group);
    if (g)
        HASH_FIND(hh, g->subscriptions, topic.at, topic.len, s);
    pthread_mutex_unlock(&c->lock);
    return s != NULL;
}

uint64_t clients_count(struct clients *c)
{
    uint64_t count;

    pthread_mutex_lock(&c->lock);
    count = HASH_COUNT(c->channels);
    pthread_mutex_unlock(&c->lock);
    return count;
}

static bool each_member(struct clients *c, struct bytes group, bool consumers,
                        void (*each)(void *ctx, const struct client_member *m), void *ctx)
{
    struct group *g;

    pthread_mutex_lock(&c->lock);
    g = clients_find_group(consumers ? c->consumers : c->producers, group);
    for (const struct membership *m = g ? g->first : NULL; m; m = m->group_next) {
        const struct channel *ch = m->channel;

        each(ctx, &(struct client_member){
                      .client_id = bytes_str(ch->client_id),
                      .peer = ch->peer,
                      .language = ch->language,
                      .version = ch->version,
                      .last_ms = ch->heard_wall_ms,
                  });
    }
    pthread_mutex_unlock(&c->lock);
    return g != NULL;
}

bool clients_each_consumer(struct clients *c, struct bytes group,
                           void (*each)(void *ctx, const struct client_member *m), void *ctx)
{
    return each_member(c, group, true, each, ctx);
}

bool clients_each_producer(struct clients *c, struct bytes group,
                           void (*each)(void *ctx, const struct client_member *m), void *ctx)
{
    return each_member(c, group, false, each, ctx);
}

bool clients_group_view(struct clients *c, struct bytes group, struct client_group_view *view,
                        void (*each)(void *ctx, const struct client_subscription_data *s),
                        void *ctx)
{
    struct group *g;

    pthread_mutex_lock(&c->lock);
    g = clients_find_group(c->consumers, group);
    if (g) {
        *view = (struct client_group_view){g->type, g->model, g->from_where};
        for (const struct subscription *s = g->subscriptions; s && each; s = s->hh.next)
            each(ctx, &(struct client_subscription_data){
                          .topic = bytes_str(s->topic),
                          .sub_string = bytes_str(s->sub_string),
                          .expression_type = bytes_str(s->expression_type),
                          .version = s->version,
                          .class_filter_mode = s->class_filter_mode,
                          .filter = s->filter,
                      });
    }
    pthread_mutex_unlock(&c->lock);
    return g != NULL;
}
