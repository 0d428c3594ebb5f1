/* client.c - see client.h. */
#include "tools/client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/link.h"
#include "tools/show.h"

enum { ADDRESS_MAX = 300, TOPIC_MAX = 127, GROUP_MAX = 255 };
#define PORT_DEFAULT "9876"

struct peer {
    struct peer *next;
    struct rpc *rpc;
};

struct client {
    char names[CLIENT_NAMES_MAX][ADDRESS_MAX];
    unsigned name_count;
    unsigned answers; /* index of the name server that answered last */
    bool only_loopback;
    bool by_default;  /* nobody said where the name servers are */
    int last_failure; /* -errno of the last call that failed */
    struct peer *peers;
};

/* ---- addresses ---- */

static bool has_port(struct bytes text)
{
    const uint8_t *colon = memrchr(text.at, ':', text.len);

    if (!colon)
        return false;
    /* "[::1]" and "::1" have colons but no port */
    return text.at[0] == '[' ? colon[-1] == ']' : memchr(text.at, ':', text.len) == colon;
}

static int add_name(struct client *c, struct bytes text, struct err *err)
{
    const char *port = has_port(text) ? "" : ":" PORT_DEFAULT;
    struct rpc *probe = NULL;
    int n;

    if (c->name_count == CLIENT_NAMES_MAX)
        return err_say(err, TOOL_USAGE, "more than %d name servers", CLIENT_NAMES_MAX);
    n = snprintf(c->names[c->name_count], ADDRESS_MAX, "%.*s%s", (int)text.len,
                 (const char *)text.at, port);
    if (n >= ADDRESS_MAX)
        return err_say(err, TOOL_USAGE, "the address of a name server is over %d bytes long",
                       ADDRESS_MAX - 1);
    if (rpc_new(&probe, c->names[c->name_count], err) < 0)
        return err->code == -EINVAL ? TOOL_USAGE : TOOL_REFUSED;
    rpc_free(probe);
    c->name_count++;
    return TOOL_DONE;
}

static int add_names(struct client *c, const char *text, struct err *err)
{
    while (*text) {
        size_t len = strcspn(text, ";");
        int r = len ? add_name(c, bytes_of(text, len), err) : TOOL_DONE;

        if (r != TOOL_DONE)
            return r;
        text += len + (text[len] == ';');
    }
    if (c->name_count == 0)
        return err_say(err, TOOL_USAGE, "the address of the name server is empty");
    return TOOL_DONE;
}

int client_new(struct client **out, const char *addresses, bool only_loopback, struct err *err)
{
    struct client *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return err_say(err, TOOL_REFUSED, "out of memory");
    c->only_loopback = only_loopback;
    if (!addresses)
        addresses = getenv(CLIENT_NAMES_VARIABLE);
    if (!addresses || !*addresses) {
        addresses = CLIENT_NAMES_DEFAULT;
        c->by_default = true;
    }
    r = add_names(c, addresses, err);
    if (r != TOOL_DONE) {
        client_free(c);
        return r;
    }
    *out = c;
    return TOOL_DONE;
}

struct client *client_free(struct client *c)
{
    if (!c)
        return NULL;
    while (c->peers) {
        struct peer *next = c->peers->next;

        rpc_free(c->peers->rpc);
        free(c->peers);
        c->peers = next;
    }
    free(c);
    return NULL;
}

unsigned client_name_server_count(const struct client *c)
{
    return c->name_count;
}

const char *client_name_server(const struct client *c, unsigned i)
{
    return c->names[i];
}

const char *client_answering_name_server(const struct client *c)
{
    return c->names[c->answers];
}

bool client_only_loopback(const struct client *c)
{
    return c->only_loopback;
}

/* ---- calls ---- */

/* rpc connects wherever it is told to, so a probe looks at the address first. */
static int check_loopback(const char *address, struct err *err)
{
    int fd = link_dial(address, true, CLIENT_TIMEOUT_MS, err);

    if (fd >= 0)
        close(fd);
    return fd == -EPERM ? fd : 0;
}

static int peer_for(struct client *c, const char *address, struct rpc **out, struct err *err)
{
    struct peer *p;
    int r;

    for (p = c->peers; p; p = p->next) {
        if (strcmp(rpc_address(p->rpc), address) == 0) {
            *out = p->rpc;
            return 0;
        }
    }
    if (c->only_loopback && check_loopback(address, err) < 0)
        return err_say(
            err, TOOL_USAGE,
            "%s is not a loopback address; a load on other machines needs --allow-remote", address);
    p = calloc(1, sizeof(*p));
    if (!p)
        return err_say(err, TOOL_REFUSED, "out of memory");
    r = rpc_new(&p->rpc, address, err);
    if (r < 0) {
        free(p);
        return TOOL_REFUSED;
    }
    p->next = c->peers;
    c->peers = p;
    *out = p->rpc;
    return 0;
}

static const char *reason(int code, char to[SHOW_ERRNO_MAX])
{
    if (code != -ETIMEDOUT)
        return show_errno(to, code);
    snprintf(to, SHOW_ERRNO_MAX, "no answer within %d s", CLIENT_TIMEOUT_MS / 1000);
    return to;
}

static int call(struct client *c, const char *address, const struct rpc_request *request,
                struct remoting_frame *reply, struct err *err)
{
    struct rpc *rpc = NULL;
    int r = peer_for(c, address, &rpc, err);

    if (r != 0)
        return r;
    r = rpc_call(rpc, request, CLIENT_TIMEOUT_MS, reply, err);
    if (r < 0)
        c->last_failure = r;
    return r;
}

bool client_was_refused_connection(const struct client *c)
{
    return c->last_failure == -ECONNREFUSED;
}

static const char *name_server_hint(const struct client *c)
{
    return c->by_default ? "; start one with tern-broker --standalone, or say where with -n"
                         : "; start it, or say where another one is with -n";
}

int client_call(struct client *c, const char *address, const char *whom,
                const struct rpc_request *request, struct remoting_frame *reply, struct err *err)
{
    char why[SHOW_ERRNO_MAX];
    int r = call(c, address, request, reply, err);

    if (r >= 0)
        return r;
    if (r == -EHOSTUNREACH || r == -EMSGSIZE) { /* the sentence says more than the number */
        err->code = TOOL_UNREACHABLE;
        return TOOL_UNREACHABLE;
    }
    return err_say(err, TOOL_UNREACHABLE,
                   "no %s at %s (%s); is it running, and is this its address?", whom, address,
                   reason(r, why));
}

int client_refused(const char *address, const char *whom, const char *doing,
                   const struct remoting_frame *reply, struct err *err)
{
    struct buf remark = {0};
    int status = TOOL_REFUSED;

    if (reply->code == RESPONSE_TOPIC_NOT_EXIST || reply->code == RESPONSE_QUERY_NOT_FOUND ||
        reply->code == RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST)
        status = TOOL_NOT_FOUND;
    show_text(&remark, reply->remark, false);
    if (reply->code == RESPONSE_REQUEST_CODE_NOT_SUPPORTED && strcmp(whom, "name server") == 0)
        err_say(err, status,
                "%s: %s does not know this request (code %d %s); is it a broker? -n wants the "
                "address of a name server",
                doing, address, reply->code, show_code(reply->code));
    else if (remark.len)
        err_say(err, status, "%s: %s at %s refused: %.*s (code %d %s)", doing, whom, address,
                (int)remark.len, (const char *)buf_at(&remark), reply->code,
                show_code(reply->code));
    else
        err_say(err, status, "%s: %s at %s refused (code %d %s)", doing, whom, address, reply->code,
                show_code(reply->code));
    buf_destroy(&remark);
    return status;
}

int client_need(struct client *c, const char *address, const char *whom, const char *doing,
                const struct rpc_request *request, struct remoting_frame *reply, struct err *err)
{
    int r = client_call(c, address, whom, request, reply, err);

    if (r != TOOL_DONE || reply->code == RESPONSE_SUCCESS)
        return r;
    return client_refused(address, whom, doing, reply, err);
}

int client_ask_names(struct client *c, const struct rpc_request *request,
                     struct remoting_frame *reply, struct err *err)
{
    char list[400] = "", why[SHOW_ERRNO_MAX];
    size_t len = 0;

    for (unsigned i = 0; i < c->name_count; i++) {
        unsigned at = (c->answers + i) % c->name_count;
        int r = call(c, c->names[at], request, reply, err);

        if (r > 0)
            return r;
        if (r == 0) {
            c->answers = at;
            return TOOL_DONE;
        }
        if (r == -EHOSTUNREACH && err->text[0])
            snprintf(why, sizeof(why), "%.95s", err->text);
        else
            reason(r, why);
        if (len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s (%s)", i ? ", " : "",
                                    c->names[at], why);
    }
    return err_say(err, TOOL_UNREACHABLE, "no name server at %s%s", list, name_server_hint(c));
}

/* ---- routes ---- */

static int take_route(const struct remoting_frame *reply, const char *topic, bool cluster,
                      struct route *out, struct err *err)
{
    struct err why = {0};

    if (route_parse(out, reply->body, cluster, &why) < 0)
        return err_say(err, TOOL_REFUSED, "the name server's answer cannot be read: %s", why.text);
    for (size_t i = 0; topic && i < out->count; i++) {
        if (out->brokers[i].serves)
            return TOOL_DONE;
    }
    if (!topic)
        return TOOL_DONE;
    route_destroy(out);
    return err_say(err, TOOL_NOT_FOUND, "no broker serves topic %s at the moment", topic);
}

static struct rpc_request route_request(const char *topic, struct rpc_field fields[2])
{
    fields[0] = (struct rpc_field){"topic", topic};
    fields[1] = (struct rpc_field){"acceptStandardJsonOnly", "true"};
    return (struct rpc_request){
        .code = REQUEST_GET_ROUTEINFO_BY_TOPIC, .fields = fields, .field_count = 2};
}

static int not_routed(const char *topic, const char *address, const struct remoting_frame *reply,
                      struct err *err)
{
    if (reply->code != RESPONSE_TOPIC_NOT_EXIST)
        return client_refused(address, "name server", "look up the route", reply, err);
    return err_say(err, TOOL_NOT_FOUND,
                   "no topic %s at name server %s; make it with: ternctl topic create %s", topic,
                   address, topic);
}

int client_route_at(struct client *c, const char *name_server, const char *topic, struct route *out,
                    struct err *err)
{
    struct rpc_field fields[2];
    struct rpc_request request = route_request(topic, fields);
    struct remoting_frame reply;
    int r = client_call(c, name_server, "name server", &request, &reply, err);

    if (r != TOOL_DONE)
        return r;
    if (reply.code != RESPONSE_SUCCESS)
        return not_routed(topic, name_server, &reply, err);
    return take_route(&reply, topic, false, out, err);
}

/* Name servers know nothing of one another: what one does not have, another may. */
int client_route(struct client *c, const char *topic, struct route *out, struct err *err)
{
    struct rpc_field fields[2];
    struct rpc_request request = route_request(topic, fields);
    struct remoting_frame reply;
    unsigned first;
    int r = client_ask_names(c, &request, &reply, err);

    if (r != TOOL_DONE)
        return r;
    if (reply.code == RESPONSE_SUCCESS)
        return take_route(&reply, topic, false, out, err);
    first = c->answers;
    r = not_routed(topic, c->names[first], &reply, err);
    for (unsigned i = 1; i < c->name_count && r == TOOL_NOT_FOUND; i++) {
        struct err other = {0};
        unsigned at = (first + i) % c->name_count;

        if (client_route_at(c, c->names[at], topic, out, &other) == TOOL_DONE)
            return TOOL_DONE;
    }
    return r;
}

int client_cluster(struct client *c, struct route *out, struct err *err)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_CLUSTER_INFO};
    struct remoting_frame reply;
    int r = client_ask_names(c, &request, &reply, err);

    if (r != TOOL_DONE)
        return r;
    if (reply.code != RESPONSE_SUCCESS)
        return client_refused(c->names[c->answers], "name server", "list the brokers", &reply, err);
    return take_route(&reply, NULL, true, out, err);
}

static int check_name(const char *kind, const char *name, size_t max, struct err *err)
{
    size_t len = strlen(name);

    if (len == 0 || len > max)
        return err_say(err, TOOL_USAGE, "the name of a %s has 1 to %zu characters", kind, max);
    for (size_t i = 0; i < len; i++) {
        if (!isascii(name[i]) || (!isalnum((unsigned char)name[i]) && !strchr("_-%|", name[i])))
            return err_say(err, TOOL_USAGE, "%s \"%.255s\": only a-z A-Z 0-9 _ - %% | are allowed",
                           kind, name);
    }
    return TOOL_DONE;
}

int client_check_topic(const char *topic, struct err *err)
{
    return check_name("topic", topic, TOPIC_MAX, err);
}

int client_check_group(const char *group, struct err *err)
{
    return check_name("consumer group", group, GROUP_MAX, err);
}
