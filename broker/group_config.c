/* group_config.c - see group_config.h. */
#include "broker/group_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dial.h"

/* One item: "id@host:port". */
static int parse_member(struct group_member *out, struct bytes item, struct err *err)
{
    char text[GROUP_ADDRESS_MAX + 8];
    struct dial_address address;
    int32_t id;
    char *at;

    if (!bytes_to_cstr(item, text, sizeof(text)) || !(at = strchr(text, '@')))
        return err_say(err, -EINVAL, "\"%.*s\" is no id@host:port",
                       (int)(item.len < 100 ? item.len : 100), (const char *)item.at);
    if (!bytes_to_i32(bytes_of(text, (size_t)(at - text)), &id) || id < 1 || id > UINT16_MAX)
        return err_say(err, -EINVAL, "\"%s\": the id before the @ is a number from 1 to %d", text,
                       UINT16_MAX);
    if (strlen(at + 1) >= sizeof(out->address) || dial_parse(&address, at + 1, NULL) < 0)
        return err_say(err, -EINVAL,
                       "\"%s\": behind the @ belongs host:port or [IPv6 address]:port", text);
    out->id = (uint16_t)id;
    snprintf(out->address, sizeof(out->address), "%s", at + 1);
    return 0;
}

int group_list_parse(struct group_list *out, const char *text, struct err *err)
{
    out->count = 0;
    while (*text) {
        size_t len = strcspn(text, ";");
        struct group_member *m = &out->members[out->count];
        int r;

        if (len > 0) {
            if (out->count == CORE_MEMBERS_MAX)
                return err_say(err, -EINVAL, "more than %d members", CORE_MEMBERS_MAX);
            r = parse_member(m, bytes_of(text, len), err);
            if (r < 0)
                return r;
            for (unsigned i = 0; i < out->count; i++) {
                if (out->members[i].id == m->id)
                    return err_say(err, -EINVAL, "member %u is named twice", (unsigned)m->id);
                if (strcmp(out->members[i].address, m->address) == 0)
                    return err_say(err, -EINVAL, "members %u and %u have the same address %s",
                                   (unsigned)out->members[i].id, (unsigned)m->id, m->address);
            }
            out->count++;
        }
        text += len + (text[len] == ';');
    }
    if (out->count < GROUP_MEMBERS_MIN)
        return err_say(err, -EINVAL, "a group has at least %d members, this one too",
                       GROUP_MEMBERS_MIN);
    return 0;
}

unsigned group_config_copies(const struct broker_config *c)
{
    bool counts =
        c->broker_role == ROLE_SYNC_MASTER || (c->broker_role == ROLE_SLAVE && group_is_set(c));

    if (!counts)
        return 1;
    return c->in_sync_replicas > 0 ? (unsigned)c->in_sync_replicas : 2;
}

int64_t group_config_follower_id(const struct broker_config *c)
{
    return group_is_set(c) ? c->member_id : c->broker_id;
}

static int check_self(const struct broker_config *c, const struct group_list *list, struct err *err)
{
    const struct group_member *self = NULL;
    struct dial_address address;

    for (unsigned i = 0; i < list->count; i++) {
        if (list->members[i].id == c->member_id)
            self = &list->members[i];
    }
    if (!self)
        return err_say(err, -EINVAL,
                       "memberId=%lld is not among groupMembers=%s: name this broker there too, as "
                       "%lld@host:listenPort",
                       (long long)c->member_id, c->group_members, (long long)c->member_id);
    if (dial_parse(&address, self->address, err) < 0)
        return -EINVAL;
    if (c->listen_port == 0)
        return err_say(err, -EINVAL,
                       "listenPort=0: the other members look for this one at %s; add the line "
                       "listenPort=%s",
                       self->address, address.port);
    return 0;
}

static int check_copies(const struct broker_config *c, const struct group_list *list,
                        struct err *err)
{
    unsigned copies = group_config_copies(c);

    if (c->broker_role == ROLE_SLAVE && c->in_sync_replicas == 0)
        return err_say(err, -EINVAL,
                       "brokerRole=SLAVE with groupMembers: all members name the same number of "
                       "copies; add the line inSyncReplicas=2 where the master is a SYNC_MASTER "
                       "(or what is set there), inSyncReplicas=1 where it is an ASYNC_MASTER");
    if (c->broker_role == ROLE_ASYNC_MASTER && c->in_sync_replicas > 1)
        return err_say(err, -EINVAL,
                       "inSyncReplicas=%lld: an ASYNC_MASTER waits for no copies, and the members "
                       "of a group must agree on them; change to brokerRole=SYNC_MASTER, or to "
                       "inSyncReplicas=1",
                       (long long)c->in_sync_replicas);
    if (copies > list->count)
        return err_say(err, -EINVAL,
                       "%u copies are asked for (brokerRole, inSyncReplicas), and groupMembers "
                       "names %u members only",
                       copies, list->count);
    return 0;
}

int group_config_check(const struct broker_config *c, struct err *err)
{
    struct group_list list;
    struct err why = {0};
    int r;

    if (!group_is_set(c))
        return c->member_id == 0
                   ? 0
                   : err_say(err, -EINVAL,
                             "memberId=%lld: which group? Add the line groupMembers=%lld@host:port;"
                             "... with all members, this one too",
                             (long long)c->member_id, (long long)c->member_id);
    r = group_list_parse(&list, c->group_members, &why);
    if (r < 0)
        return err_say(err, r, "groupMembers=%s: %s", c->group_members, why.text);
    if (c->member_id == 0)
        return err_say(
            err, -EINVAL,
            "groupMembers is set: which of them is this broker? Add the line memberId=%u "
            "(or another of its ids)",
            (unsigned)list.members[0].id);
    if (c->broker_role == ROLE_SLAVE && c->broker_id != c->member_id)
        return err_say(err, -EINVAL,
                       "brokerId=%lld: a slave of a group is known by its memberId; change to "
                       "brokerId=%lld",
                       (long long)c->broker_id, (long long)c->member_id);
    if (c->ha_master_address[0] != '\0')
        return err_say(err, -EINVAL,
                       "haMasterAddress=%s: members of a group find their master by groupMembers; "
                       "leave it away",
                       c->ha_master_address);
    r = check_self(c, &list, err);
    return r < 0 ? r : check_copies(c, &list, err);
}
