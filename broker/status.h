/* status.h - requests that look at or tune the broker: configuration, runtime, statistics. */
#ifndef TERN_BROKER_STATUS_H
#define TERN_BROKER_STATUS_H

#include "broker/call.h"

enum call_result serve_update_config(struct call *call);        /* 25, reader */
enum call_result serve_get_config(struct call *call);           /* 26, reader */
enum call_result serve_runtime_info(struct call *call);         /* 28, reader */
enum call_result serve_topic_stats(struct call *call);          /* 202, reader */
enum call_result serve_consume_stats(struct call *call);        /* 208, reader */
enum call_result serve_topic_consume_by_who(struct call *call); /* 300, reader */

#endif
