/* topics.h - topics and groups as requests see them: system names, creation on demand, admin.
 * Any thread; state lives in the store's metadata. */
#ifndef TERN_BROKER_TOPICS_H
#define TERN_BROKER_TOPICS_H

#include "broker/call.h"

/* Where the first record of each epoch of a group goes. */
#define TOPIC_OF_EPOCHS "TERN_EPOCH"

/* Makes the built-in topics and groups (docs/protocol/remoting.md, "Topics"). */
int topics_make_builtin(struct broker *b, struct err *err);
bool topic_is_system(struct broker *b, struct bytes name);
bool topic_send_forbidden(struct bytes name);
bool group_is_builtin(struct bytes name);

/* Of the store; QUEUE_NONE when there is no such topic or queue. */
uint32_t topics_queue(struct broker *b, struct bytes name, int32_t queue_id);

enum { TOPIC_QUEUES_UNSAID = INT32_MIN }; /* for default_queues */
/* The topic a send goes to: known, or made from `default_topic` by the auto-creation rules, or (for
 * %RETRY%) with one queue. 0; otherwise the response code to give, with the remark in err. */
int topics_for_send(struct broker *b, struct bytes name, struct bytes default_topic,
                    int32_t default_queues, bool unit_mode, struct topic **topic,
                    struct topic_config *config, struct err *err);
/* Makes (or finds) %RETRY%<group> / %DLQ%<group> and the like: `queues` queues, given perm.
 * Registers with the name servers when new. NULL with err when it cannot be. */
struct topic *topics_make(struct broker *b, struct bytes name, int32_t queues, int32_t perm,
                          int32_t sys_flag, struct topic_config *config, struct err *err);
/* The group's configuration; made when auto-creation allows. false: there is none. */
bool groups_find_or_make(struct broker *b, struct bytes name, struct group_config *config);

/* "%RETRY%" / "%DLQ%" + group into `to`; empty bytes when too long. */
enum { PREFIXED_MAX = 300 };
struct bytes topic_of_group(char to[PREFIXED_MAX], const char *prefix, struct bytes group);

enum call_result serve_update_topic(struct call *call);  /* 17, reader */
enum call_result serve_delete_topic(struct call *call);  /* 215, reader */
enum call_result serve_all_topics(struct call *call);    /* 21, reader */
enum call_result serve_system_topics(struct call *call); /* 305, reader */
enum call_result serve_update_group(struct call *call);  /* 200, reader */
enum call_result serve_delete_group(struct call *call);  /* 207, reader */
enum call_result serve_all_groups(struct call *call);    /* 201, reader */

#endif
