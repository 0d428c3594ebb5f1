/* namesrv_internal.h - what namesrv.c and its handlers share. */
#ifndef TERN_NAMESRV_NAMESRV_INTERNAL_H
#define TERN_NAMESRV_NAMESRV_INTERNAL_H

#include "common/codes.h"
#include "common/conn.h"
#include "common/remoting.h"
#include "namesrv/kv_config.h"
#include "namesrv/namesrv.h"
#include "namesrv/route_table.h"
#include "namesrv/saver.h"

enum { NAMESRV_WAITING_MAX = 1024 }; /* answers parked for one file */

/* Whom to answer, and how; outlives the frame it was taken from. */
struct asker {
    conn_id conn;
    int32_t opaque;
    uint8_t serialize;
    bool oneway; /* wants no answer */
};

/* A file that requests change, and the answers that wait until it is written, oldest first. */
struct stored {
    struct namesrv *ns;
    struct saver *saver; /* NULL: there is no file */
    struct {
        struct asker asker;
        uint64_t number; /* of the change */
    } waiting[NAMESRV_WAITING_MAX];
    size_t waiting_count;
};

struct namesrv {
    struct namesrv_options options;
    struct loop *loop;
    struct listener *listener;
    uint16_t port;
    struct route_table *table;
    struct kv_config *kv;
    struct stored kv_file;
    struct stored changed_file; /* configStorePath */
    struct loop_timer silence;  /* armed while a broker is registered */
    bool stopped;
};

/* One request while it is handled. */
struct request {
    struct namesrv *ns;
    struct conn *conn;
    const struct remoting_frame *frame;
};

/* ---- answering (answer.c) ---- */

struct asker ns_asker(const struct request *rq);
/* An answer without fields and body; the remark may be NULL. */
void ns_answer(const struct request *rq, int32_t code, const char *remark_format, ...)
    __attribute__((format(printf, 3, 4)));
void ns_answer_later(struct namesrv *ns, const struct asker *asker, int32_t code,
                     const char *remark);
/* An answer whose fields (remoting_put*) and body (after remoting_body, into answer_out) the caller
 * adds. False for a one-way request: nothing is to be written. `has_fields`: the kind of answer
 * has fields, even if none is set. */
bool ns_answer_begin(const struct request *rq, struct remoting_writer *w, int32_t code,
                     bool has_fields, const char *remark);
struct buf *ns_answer_out(const struct request *rq);
void ns_answer_end(const struct request *rq, struct remoting_writer *w);

/* Required fields. False: absent or invalid, and answered with 1 and the field's name. */
bool ns_need_text(const struct request *rq, const char *field, struct bytes *out);
/* A name as registration_name_ok() wants it. */
bool ns_need_name(const struct request *rq, const char *field, size_t max, struct bytes *out);
bool ns_need_address(const struct request *rq, const char *field, struct bytes *out);
bool ns_need_i64(const struct request *rq, const char *field, int64_t *out);
/* Optional ones: absent leaves *out as it is. */
bool ns_take_i64(const struct request *rq, const char *field, int64_t min, int64_t max,
                 int64_t *out);
struct bytes ns_take_text(const struct request *rq, const char *field);

/* ---- the file behind a change (stored.c) ---- */

int ns_stored_init(struct stored *s, struct namesrv *ns, const char *path);
/* Before a change is made. False: too many wait already, answered with 2. */
bool ns_stored_has_room(const struct stored *s, const struct request *rq);
/* Answers rq with 0 once `text` is in the file; at once when there is no file. Takes text. */
void ns_stored_answer(struct stored *s, const struct request *rq, struct buf *text);
void ns_stored_stop(struct stored *s);
void ns_stored_destroy(struct stored *s);

/* ---- namesrv.c ---- */

/* The connection of the request belongs to a broker: when it closes the broker is gone. */
void namesrv_broker_spoke(const struct request *rq, const struct route_member *member);

/* ---- one for each request code ---- */

/* handle_registration.c */
void ns_register_broker(const struct request *rq);
void ns_unregister_broker(const struct request *rq);
void ns_query_data_version(const struct request *rq);
void ns_broker_heartbeat(const struct request *rq);
void ns_register_topic(const struct request *rq);
/* handle_routes.c */
void ns_route_info(const struct request *rq);
void ns_cluster_info(const struct request *rq);
void ns_member_group(const struct request *rq);
void ns_all_topics(const struct request *rq);
void ns_topics_by_cluster(const struct request *rq);
void ns_system_topics(const struct request *rq);
void ns_unit_topics(const struct request *rq);
void ns_unit_sub_topics(const struct request *rq);
void ns_unit_sub_ununit_topics(const struct request *rq);
/* handle_kv.c */
void ns_put_kv(const struct request *rq);
void ns_get_kv(const struct request *rq);
void ns_delete_kv(const struct request *rq);
void ns_kv_list(const struct request *rq);
/* handle_admin.c */
void ns_wipe_write_perm(const struct request *rq);
void ns_add_write_perm(const struct request *rq);
void ns_delete_topic(const struct request *rq);
void ns_update_config(const struct request *rq);
void ns_get_config(const struct request *rq);

#endif
