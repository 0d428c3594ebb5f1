/* ctl_message.h - what the message commands share: messages that were found, who has consumed them,
 * and how both are printed. */
#ifndef TERN_TOOLS_CTL_MESSAGE_H
#define TERN_TOOLS_CTL_MESSAGE_H

#include "tools/message.h"
#include "tools/ternctl.h"

struct found_message {
    const char *broker, *address; /* borrowed from the route */
    size_t at, size;              /* in found->bytes */
    int64_t store_ms;
};

struct found {
    struct buf bytes; /* stored messages, back to back */
    struct found_message *items;
    size_t count, cap;
};
/* Adds one stored message, which is at the front of `bytes`; *size is what it takes. TOOL_DONE;
 * TOOL_REFUSED: it is none, or no memory. */
int found_add(struct ctl *ctl, struct found *f, const char *broker, const char *address,
              struct bytes bytes, size_t *size);
void found_sort(struct found *f); /* by store time */
void found_destroy(struct found *f);

/* --- who has consumed it --- */
enum consumed_state {
    CONSUMED,             /* the group's offset is behind it */
    CONSUMED_PASSED_OVER, /* likewise, but its subscription does not take the tag */
    CONSUMED_NOT_YET,
    CONSUMED_BROADCAST, /* each client has an offset of its own, where it runs */
};
const char *consumed_name(enum consumed_state state); /* "consumed", "passed over", ... */

struct consumed_group {
    char *name;
    enum consumed_state state;
    int64_t offset; /* the group's, in that queue */
};
struct consumed {
    struct consumed_group *groups; /* by name */
    size_t count;
};
/* Asks the broker for the groups of the message's topic. */
int consumed_ask(struct ctl *ctl, const struct found_message *item, const struct message_view *m,
                 struct consumed *out);
void consumed_destroy(struct consumed *c);

/* --- printing --- */
/* All of them, as blocks of lines or as one JSON document {"messages":[...]}. `groups`: with who
 * has consumed them. */
int found_print(struct ctl *ctl, struct found *f, bool groups);
/* One, as lines; `consumed` may be NULL. */
void found_text(struct ctl *ctl, const struct found_message *item, const struct message_view *m,
                const struct consumed *consumed);
/* Its members into an open object. */
void found_json(struct json_out *j, const struct found_message *item, const struct message_view *m,
                const struct consumed *consumed);
/* The view of one, which borrows from f and `unpacked`. */
int found_view(struct ctl *ctl, const struct found *f, size_t i, struct buf *unpacked,
               struct message_view *view);

int ctl_message_get(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_message_query(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_message_at(struct ctl *ctl, const struct command *command, int argc, char **argv);

#endif
