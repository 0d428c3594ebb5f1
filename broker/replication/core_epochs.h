/* core_epochs.h - which epoch wrote which part of a log, and up to where two logs are the same.
 * Pure; the table is part of struct core_state.
 *
 * An epoch has one writer, which had the whole log before it when it began. So two logs that have
 * an epoch that began at the same place are the same up to there, and on to where either goes on in
 * another epoch or ends. What is older than epochs is named by the first one that is begun on it
 * (core_begin_epoch()); a log without any says nothing about what is in it, and has nothing in
 * common with another.
 *
 * A table has CORE_EPOCHS_MAX entries. When it is full the two oldest become one, under the name of
 * the younger and from where the older began: what that holds is still told by the younger one's
 * writer. A log that ends in an epoch that is not named any more begins anew.
 */
#ifndef TERN_BROKER_REPLICATION_CORE_EPOCHS_H
#define TERN_BROKER_REPLICATION_CORE_EPOCHS_H

#include "broker/replication/core.h"

/* The newest entry, even if nothing was written in it yet; 0: there is none. */
uint64_t core_epochs_newest(const struct core_state *s);
/* The epoch of the last byte of a log that ends at `end`; 0: it is older than epochs. */
uint64_t core_epochs_last(const struct core_state *s, uint64_t end);
/* The entry that holds the byte at `offset` of a log that ends at `end`, and where that part ends;
 * NULL: none does. */
const struct core_epoch *core_epochs_at(const struct core_state *s, uint64_t offset, uint64_t end,
                                        uint64_t *part_end);
/* From `start` on it goes on in `epoch`. Entries without a byte before `start` are dropped. */
void core_epochs_add(struct core_state *s, uint64_t epoch, uint64_t start);
/* The log ends at `end`: entries that begin there or later are dropped. */
void core_epochs_cut(struct core_state *s, uint64_t end);
/* Up to where both logs are the same, by the newest epoch that began at the same place in both.
 * False: they have nothing in common. */
bool core_epochs_common(const struct core_state *mine, uint64_t my_end,
                        const struct core_epoch *theirs, unsigned count, uint64_t their_end,
                        uint64_t *common);

#endif
