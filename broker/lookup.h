/* lookup.h - requests that look for messages: by key, by id, by time, and into a queue. */
#ifndef TERN_BROKER_LOOKUP_H
#define TERN_BROKER_LOOKUP_H

#include "broker/call.h"

enum {
    LOOKUP_MAX = 1024,        /* messages of one answer, whatever the settings say */
    LOOKUP_ENTRIES_MAX = 4096 /* entries of a queue in one answer */
};

enum call_result serve_query_message(struct call *call);       /* 12, reader */
enum call_result serve_search_offset(struct call *call);       /* 29, reader */
enum call_result serve_earliest_store_time(struct call *call); /* 32, reader */
enum call_result serve_view_message(struct call *call);        /* 33, reader */
enum call_result serve_query_consume_queue(struct call *call); /* 321, reader */

#endif
