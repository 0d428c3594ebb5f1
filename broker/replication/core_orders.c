/* core_orders.c - what the core gives out: its orders, and messages with what they say of this log.
 * Decides nothing.
 */
#include "broker/replication/core_internal.h"

#include <assert.h>
#include <string.h>

/* --- orders --- */

struct core_order *core_add_order(struct core *c, enum core_order_type type)
{
    struct core_order *o;

    /* An event makes at most a few orders for each member. */
    assert(c->order_count < CORE_ORDERS_MAX);
    o = &c->orders[c->order_count++];
    memset(o, 0, sizeof(*o));
    o->type = type;
    return o;
}

void core_save(struct core *c)
{
    struct core_order *o = core_add_order(c, CORE_SAVE);

    o->version = ++c->state.version;
}

void core_alarm(struct core *c, const char *why)
{
    core_add_order(c, CORE_ALARM)->why = why;
}

void core_confirm(struct core *c, uint64_t to)
{
    if (to <= c->confirmed)
        return;
    c->confirmed = to;
    core_add_order(c, CORE_CONFIRM)->offset = to;
}

/* --- messages --- */

struct core_message *core_send_to(struct core *c, uint16_t to, enum core_message_type type)
{
    struct core_order *o = core_add_order(c, CORE_SEND);

    o->to = to;
    o->message.type = type;
    o->message.from = c->state.member;
    o->message.term = c->state.promised;
    return &o->message;
}

uint64_t core_last_epoch(const struct core *c)
{
    return core_epochs_last(&c->state, c->written);
}

void core_put_table(const struct core *c, struct core_message *m)
{
    m->epoch_count = c->state.epoch_count;
    memcpy(m->epochs, c->state.epochs, c->state.epoch_count * sizeof(m->epochs[0]));
    m->first = c->first;
    m->end = c->written;
    m->last_epoch = core_last_epoch(c);
}
