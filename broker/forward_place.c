/* forward_place.c - who leads, where the master is, and which addresses the members have.
 *
 * Any thread tells it, under the lock. A loop takes a copy when it is told that something changed;
 * host names are looked up by a reader.
 */
#include "broker/forward_internal.h"

#include <netdb.h>
#include <stdio.h>

#include "common/dial.h"
#include "common/log.h"

bool forward_look_up(const char *address, bool numeric, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0)};
    struct addrinfo *found = NULL;
    struct dial_address a;

    if (dial_parse(&a, address, NULL) < 0 || getaddrinfo(a.host, a.port, &hints, &found) != 0)
        return false;
    memset(out, 0, sizeof(*out));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static void changed(struct forward *f)
{
    atomic_fetch_add(&f->version, 1);
    atomic_store(&f->broker->passes_on, f->enabled && !f->leads);
    for (unsigned i = 0; i < f->broker->loop_count; i++)
        loop_signal(f->broker->loops[i], BROKER_SIGNAL_FORWARD);
}

/* On a reader: host names. An answer that is not wanted any more is left alone. */
static void look_up_names(void *ctx)
{
    struct forward *f = ctx;
    struct sockaddr_storage at;
    char address[GROUP_ADDRESS_MAX];

    for (unsigned i = 0; i < f->member_count; i++) {
        struct member *m = &f->members[i];

        if (forward_look_up(m->address, true, &at) || !forward_look_up(m->address, false, &at))
            continue;
        pthread_mutex_lock(&f->lock);
        m->at = f->broker->settings->kept.members[i] = at;
        pthread_mutex_unlock(&f->lock);
    }
    pthread_mutex_lock(&f->lock);
    memcpy(address, f->address, sizeof(address));
    pthread_mutex_unlock(&f->lock);
    if (address[0] == '\0' || forward_look_up(address, true, &at))
        return;
    if (!forward_look_up(address, false, &at)) {
        log_warn_limited("master",
                         "the host of the master, \"%s\", cannot be looked up: requests "
                         "are not passed on to it",
                         address);
        return;
    }
    pthread_mutex_lock(&f->lock);
    if (strcmp(address, f->address) == 0) {
        f->master = at;
        changed(f);
    }
    pthread_mutex_unlock(&f->lock);
}

static void ask_for_names(struct forward *f)
{
    struct sockaddr_storage at;
    bool named = f->address[0] != '\0' && f->master.ss_family == 0;

    for (unsigned i = 0; i < f->member_count; i++)
        named |= !forward_look_up(f->members[i].address, true, &at);
    if (named && f->broker->store && store_run(f->broker->store, look_up_names, f) < 0)
        log_warn_limited("master", "no reader thread to look up the hosts of the group");
}

void forward_leads(struct forward *f, bool leads)
{
    if (!f->enabled)
        return;
    pthread_mutex_lock(&f->lock);
    f->leads = leads;
    changed(f);
    ask_for_names(f);
    pthread_mutex_unlock(&f->lock);
}

void forward_master(struct forward *f, const char *address)
{
    if (!f->enabled)
        return;
    /* While this member hands over it is still the one that is known. */
    if (strcmp(address, f->own) == 0)
        address = "";
    pthread_mutex_lock(&f->lock);
    snprintf(f->address, sizeof(f->address), "%s", address);
    f->master.ss_family = 0;
    if (f->address[0] != '\0' && !forward_look_up(f->address, true, &f->master))
        ask_for_names(f);
    changed(f);
    pthread_mutex_unlock(&f->lock);
}

void forward_start(struct forward *f)
{
    pthread_mutex_lock(&f->lock);
    ask_for_names(f);
    pthread_mutex_unlock(&f->lock);
}

void forward_take_place(struct forward_loop *l)
{
    struct forward *f = l->forward;

    if (l->version == atomic_load(&f->version))
        return;
    pthread_mutex_lock(&f->lock);
    l->version = atomic_load(&f->version);
    l->leads = f->leads;
    l->master = f->master;
    l->known = !f->leads && f->master.ss_family != 0;
    pthread_mutex_unlock(&f->lock);
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->ss_family == AF_INET6 && memcmp(&a6->sin6_addr, &b6->sin6_addr, 16) == 0;
}

bool forward_comes_from_member(const struct call *call)
{
    struct forward *f = call->broker->forward;
    bool member = false;

    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->member_count && !member; i++)
        member = same_host(&f->members[i].at, &call->peer);
    pthread_mutex_unlock(&f->lock);
    return member;
}
