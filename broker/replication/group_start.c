/* group_start.c - see group_start.h. */
#include "broker/replication/group_start.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"

enum { IDS_TEXT = CORE_MEMBERS_MAX * 6 + 1 };

static bool has_id(const struct core_state *s, uint16_t id)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i] == id)
            return true;
    }
    return false;
}

static char *ids_text(char text[IDS_TEXT], const struct core_state *s)
{
    size_t n = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < s->member_count; i++)
        n += (size_t)snprintf(text + n, IDS_TEXT - n, "%s%u", i > 0 ? " " : "",
                              (unsigned)s->members[i]);
    return text;
}

static void members_of(struct core_state *s, const struct group_list *list)
{
    s->member_count = (uint8_t)list->count;
    for (unsigned i = 0; i < list->count; i++)
        s->members[i] = list->members[i].id;
}

/* Other ids would be another group: promises and copies count for these. */
static int check_members(const struct group_start *g, const struct broker_config *c,
                         struct err *err)
{
    const struct core_state *s = &g->state.core;
    struct core_state named;
    char was[IDS_TEXT], is[IDS_TEXT];
    bool same = s->member_count == g->list.count;

    members_of(&named, &g->list);
    for (unsigned i = 0; i < named.member_count; i++)
        same = same && has_id(s, named.members[i]);
    if (!same)
        return err_say(err, -EINVAL,
                       "groupMembers names the members %s, and %s/tern/state was written by a "
                       "group of %s; the members of a group do not change: name those",
                       ids_text(is, &named), c->store_path_root_dir, ids_text(was, s));
    if (s->member != c->member_id)
        return err_say(err, -EINVAL,
                       "memberId=%lld, and the store %s is that of member %u (tern/state); set "
                       "memberId=%u, or another storePathRootDir",
                       (long long)c->member_id, c->store_path_root_dir, (unsigned)s->member,
                       (unsigned)s->member);
    if (s->copies != group_config_copies(c))
        return err_say(err, -EINVAL,
                       "brokerRole and inSyncReplicas ask for %u copies, and %s/tern/state was "
                       "written by a group with %u; the number does not change: set "
                       "inSyncReplicas=%u (with brokerRole=ASYNC_MASTER it is 1)",
                       group_config_copies(c), c->store_path_root_dir, (unsigned)s->copies,
                       (unsigned)s->copies);
    return 0;
}

/* The member has taken part in nothing yet: it has an epoch from nobody and has promised nothing to
 * another. A mistake in its file can be mended. */
static bool is_unused(const struct core_state *s)
{
    return s->epoch_count == 0 && (s->promised == 0 || s->promised == s->written_term);
}

/* The role in the file says how a store without a state begins; that of a former group in a higher
 * term than any that name servers may know. */
static int make_state(struct group_start *g, const struct broker_config *c, uint64_t told,
                      struct err *err)
{
    uint64_t before = core_term(told) >> CORE_MEMBER_BITS << CORE_MEMBER_BITS;
    struct core_state *s = &g->state.core;

    memset(&g->state, 0, sizeof(g->state));
    s->version = 1;
    s->member = (uint16_t)c->member_id;
    s->copies = (uint8_t)group_config_copies(c);
    members_of(s, &g->list);
    if (c->broker_role == ROLE_SLAVE)
        g->state.doubtful = true;
    else
        s->promised = s->written_term = before + core_first_term(s->member);
    if (s->promised > CORE_TERM_MAX)
        return err_say(err, -ERANGE,
                       "the stateVersion of the topics in %s is %llu: no epoch is above that",
                       c->store_path_root_dir, (unsigned long long)told);
    g->changed = true;
    return 0;
}

/* The system went down under us, and what had counted as a copy was not on the disk. */
static void look_for_power_cut(struct group_start *g, const struct broker_config *c)
{
    char boot_id[sizeof(g->state.boot_id)], path[PATH_MAX];

    group_state_boot_id(boot_id);
    if (boot_id[0] != '\0' && strcmp(boot_id, g->state.boot_id) == 0)
        return;
    g->changed = true;
    if (c->flush_disk_type == FLUSH_SYNC || g->state.doubtful ||
        snprintf(path, sizeof(path), "%s/abort", c->store_path_root_dir) >= (int)sizeof(path) ||
        access(path, F_OK) != 0)
        return;
    g->state.doubtful = true;
    log_warn("the system has gone down while this member ran under ASYNC_FLUSH: what it had "
             "acknowledged may be lost here, so it gives no promises before it has followed a "
             "master");
}

int group_start_prepare(struct group_start *g, const struct broker_config *c, uint64_t told,
                        struct store_options *store, struct err *err)
{
    int r = group_list_parse(&g->list, c->group_members, err);

    if (r < 0)
        return r;
    g->changed = false;
    r = group_state_load(&g->state, c->store_path_root_dir, err);
    if (r == -ENOENT || (r == 0 && is_unused(&g->state.core))) {
        r = make_state(g, c, told, err);
    } else {
        if (r == 0)
            r = check_members(g, c, err);
        if (r == 0)
            look_for_power_cut(g, c);
    }
    if (r < 0)
        return r;
    store->follower = true;
    store->limit_confirmed = true;
    store->confirmed_at_most = 0;
    store->cut.on = g->state.cut;
    store->cut.anew = g->state.anew;
    store->cut.to = g->state.cut_to;
    return 0;
}

int group_start_opened(struct group_start *g, const struct broker_config *c, struct err *err)
{
    char dir[PATH_MAX];
    int r;

    if (!g->changed && !g->state.cut)
        return 0;
    g->state.cut = g->state.anew = false;
    g->state.cut_to = 0;
    group_state_boot_id(g->state.boot_id);
    if (snprintf(dir, sizeof(dir), "%s/tern", c->store_path_root_dir) >= (int)sizeof(dir))
        return err_say(err, -ENAMETOOLONG, "storePathRootDir is too long");
    r = file_mkdirs(dir);
    if (r < 0)
        return err_set(err, r, "make %s", dir);
    return group_state_save(&g->state, c->store_path_root_dir, err);
}
