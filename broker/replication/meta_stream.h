/* meta_stream.h - the metadata journal on its way to the other members: topics, groups, consumer
 * offsets, queue locks, delay cursors. No sockets: the group's thread carries the pieces.
 *
 * A follower that begins gets a snapshot of all tables, piece by piece, then each batch that the
 * master's journal has made durable. Values are absolute, so what overlaps does no harm.
 */
#ifndef TERN_BROKER_REPLICATION_META_STREAM_H
#define TERN_BROKER_REPLICATION_META_STREAM_H

#include "broker/store/store.h"

/* --- the master --- */
struct meta_source;
/* What has become durable is there for meta_source_next() when the metadata's on_durable is called.
 */
struct meta_source *meta_source_new(struct metadata *m);
struct meta_source *meta_source_free(struct meta_source *s); /* NULL is fine; returns NULL */

/* The rest: the group's thread. `peer`: 0 .. CORE_MEMBERS_MAX - 1. */
/* From here on batches are collected for this peer, behind a snapshot. Again: from the start. */
void meta_source_begin(struct meta_source *s, unsigned peer);
void meta_source_end(struct meta_source *s, unsigned peer);
/* Given to the peer before the pieces of the log that were read later, all of it (a snapshot
 * apart), a follower hears of a topic's deletion before it gets messages of the next topic of that
 * name.
 *
 * Adds whole records, at most GROUP_META_MAX bytes, to out. False: nothing to send now. *upto: the
 * sequence that the peer has when it has taken these; 0: the snapshot is not whole yet. *begins:
 * the first piece. Collected batches have a bound (META_WAITING_MAX bytes for each peer): above it
 * the peer starts again with a snapshot. */
enum { META_WAITING_MAX = 8 << 20 };
bool meta_source_next(struct meta_source *s, unsigned peer, struct buf *out, bool *begins,
                      uint64_t *upto);
/* The peer has everything up to there, durably. */
void meta_source_acked(struct meta_source *s, unsigned peer, uint64_t upto);
/* The highest sequence that at least `others` peers have. Any thread. */
uint64_t meta_source_copied(const struct meta_source *s, unsigned others);

/* --- a follower --- */
/* Takes whole records into the live tables (and through them into the own journal). *sequence: the
 * own one that must be durable before the frame is acknowledged. 0; -EBADMSG: no such records;
 * -EAGAIN: too much waits for the journal, come again with the same; -ENOSPC, -ENOMEM. */
int meta_sink_take(struct metadata *m, struct store *store, struct bytes records,
                   uint64_t *sequence, struct err *err);

#endif
