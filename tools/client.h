/* client.h - name servers and brokers as a tool sees them: calls that end in an exit status.
 *
 * One thread. Connections (common/rpc.h) are kept by address. Every failure is one sentence in
 * err->text that says what happened, at which address, and what to do next.
 */
#ifndef TERN_TOOLS_CLIENT_H
#define TERN_TOOLS_CLIENT_H

#include "common/codes.h"
#include "common/err.h"
#include "common/rpc.h"
#include "tools/route.h"

/* The exit status of the tools, and what most functions here return. */
enum tool_status {
    TOOL_DONE = 0,
    TOOL_REFUSED = 1,     /* a server said no, or failed; anything else that went wrong */
    TOOL_USAGE = 2,       /* the command line is wrong */
    TOOL_UNREACHABLE = 3, /* no connection, or no answer in time */
    TOOL_NOT_FOUND = 4,   /* the topic, or whatever was asked for, is not there */
};

#define CLIENT_NAMES_DEFAULT "127.0.0.1:9876"
#define CLIENT_NAMES_VARIABLE "TERN_NAMESRV"
enum { CLIENT_NAMES_MAX = 16, CLIENT_TIMEOUT_MS = 5000 };

struct client;

/* `addresses`: "host[:port][;host[:port]]...", port 9876 unless given; NULL: what the environment
 * says, else the default. TOOL_USAGE, TOOL_REFUSED (no memory). With `only_loopback` every other
 * address is refused with TOOL_USAGE when it is first used. */
int client_new(struct client **out, const char *addresses, bool only_loopback, struct err *err);
struct client *client_free(struct client *c); /* returns NULL */
unsigned client_name_server_count(const struct client *c);
const char *client_name_server(const struct client *c, unsigned i);
/* The one that answered last; before any did, the first. */
const char *client_answering_name_server(const struct client *c);
bool client_only_loopback(const struct client *c);

/* One call to one address. TOOL_DONE when an answer came, whatever its code; TOOL_UNREACHABLE. The
 * reply holds until the next call to that address. `whom` for the sentence: "broker broker-a",
 * "name server". */
int client_call(struct client *c, const char *address, const char *whom,
                const struct rpc_request *request, struct remoting_frame *reply, struct err *err);
/* As client_call(), and any code but 0 is a failure: TOOL_NOT_FOUND for 17, 22 and 26, else
 * TOOL_REFUSED. `doing` begins the sentence: "create topic T". */
int client_need(struct client *c, const char *address, const char *whom, const char *doing,
                const struct rpc_request *request, struct remoting_frame *reply, struct err *err);
/* The sentence for a code that is not 0, and the status that goes with it. */
int client_refused(const char *address, const char *whom, const char *doing,
                   const struct remoting_frame *reply, struct err *err);
/* The last TOOL_UNREACHABLE was a refused connection: nothing can have been sent. */
bool client_was_refused_connection(const struct client *c);
/* Asks the name servers in turn, the one that answered last time first; any code. */
int client_ask_names(struct client *c, const struct rpc_request *request,
                     struct remoting_frame *reply, struct err *err);

/* The route of a topic, yours to destroy; TOOL_NOT_FOUND when no name server has one. */
int client_route(struct client *c, const char *topic, struct route *out, struct err *err);
/* Likewise from one name server only. */
int client_route_at(struct client *c, const char *name_server, const char *topic, struct route *out,
                    struct err *err);
/* All brokers. An empty cluster is TOOL_DONE with count 0. */
int client_cluster(struct client *c, struct route *out, struct err *err);

/* "[a-zA-Z0-9_%|-]", 1 to 127 bytes; TOOL_USAGE with the sentence. */
int client_check_topic(const char *topic, struct err *err);
/* Likewise for a consumer group, 1 to 255 bytes. */
int client_check_group(const char *group, struct err *err);

#endif
