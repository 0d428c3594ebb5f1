/* namesrv.h - a name server that lives on a loop: tern-namesrv's, or the broker's own.
 *
 *   connection -> request -> handle_*.c -> route_table (pure) -> answer into conn_out()
 *                                      \-> kv_config -> saver (a thread, only after a change)
 *
 * All of it belongs to the loop's thread. Several in one process know nothing of one another.
 *
 * The life of one: namesrv_new(), loop_run(); then namesrv_stop(), on the loop's thread or after
 * loop_run() has returned; loop_free(); namesrv_free(), since closing connections still ask it.
 */
#ifndef TERN_NAMESRV_NAMESRV_H
#define TERN_NAMESRV_NAMESRV_H

#include "common/err.h"
#include "common/loop.h"
#include "namesrv/options.h"

enum { NAMESRV_CONNECTIONS_MAX = 65536 };

struct namesrv;

/* Reads the KV file and listens; `options` is copied (its port_file and log_level are the caller's
 * business). On failure err names the address or the file. */
int namesrv_new(struct namesrv **out, const struct namesrv_options *options, struct loop *loop,
                struct err *err);
uint16_t namesrv_port(const struct namesrv *ns);
/* Listens no more, and waits for the files to be written; what waited for that is answered. Open
 * connections stay, and may ask for what is known. Safe twice. */
void namesrv_stop(struct namesrv *ns);
/* After namesrv_stop() and loop_free(). Returns NULL. */
struct namesrv *namesrv_free(struct namesrv *ns);

struct namesrv_stats {
    size_t groups, topics, queues; /* in the table; their bounds are ROUTE_*_MAX */
    size_t waiting;                /* answers that wait for a file to be written */
};
void namesrv_stats(const struct namesrv *ns, struct namesrv_stats *out);

#endif
