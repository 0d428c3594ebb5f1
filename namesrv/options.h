/* options.h - the settings of a name server: RocketMQ's key names, and a few of our own.
 *
 * Plain data. Those marked live may be changed by UPDATE_NAMESRV_CONFIG while it runs; what was
 * changed that way is kept in the file configStorePath, if one is set, and nothing else is.
 */
#ifndef TERN_NAMESRV_OPTIONS_H
#define TERN_NAMESRV_OPTIONS_H

#include "common/config.h"

enum { NAMESRV_PATH_MAX = 4096, NAMESRV_PORT_DEFAULT = 9876 };

struct namesrv_options {
    char bind_address[64];
    int64_t listen_port; /* 0: any free one */
    char port_file[NAMESRV_PATH_MAX];
    char kv_config_path[NAMESRV_PATH_MAX];    /* empty: in memory only */
    char config_store_path[NAMESRV_PATH_MAX]; /* empty: changes hold until the next start */
    char config_black_list[1024];             /* live keys that may not be changed, by ';' */
    bool order_message_enable;
    bool return_order_topics;
    bool support_acting_master;
    bool enable_all_topic_list;
    bool enable_topic_list;
    int64_t scan_interval_ms;
    int log_level; /* enum log_level */

    uint32_t changed; /* live keys that came from configStorePath or a request: bit by index */
};

extern const struct config_spec namesrv_config_spec;

/* Every default. `origin` may be NULL. */
void namesrv_options_init(struct namesrv_options *o, struct config_origin *origin);
/* Reads configStorePath, where there is one. It holds live keys only; anything else in it is
 * refused. err: file and line. */
int namesrv_options_load_changed(struct namesrv_options *o, struct config_origin *origin,
                                 struct err *err);
/* The text of that file. */
void namesrv_options_changed_text(const struct namesrv_options *o, struct buf *out);
/* One live key; the caller has checked the value. */
void namesrv_options_change(struct namesrv_options *o, const struct config_key *key,
                            const char *value);

#endif
