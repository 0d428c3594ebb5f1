/* owed.h - answers that other threads owe to the connections of one loop: a reader thread, or the
 * journal. By connection, so that a broker that ends knows which of them it may leave.
 *
 * Whoever owes an answer posts it to the loop first and is counted out then. While the loop drains,
 * a connection is owed nothing when that has been so since the turn before: what was posted before
 * has arrived by then.
 */
#ifndef TERN_BROKER_OWED_H
#define TERN_BROKER_OWED_H

#include <stdbool.h>

#include "common/conn.h"

struct owed;

/* NULL: no memory. */
struct owed *owed_new(void);
/* NULL is fine; returns NULL. */
struct owed *owed_free(struct owed *o);

/* Any thread. One more, and one less; false: no memory, nothing is counted. */
bool owed_begin(struct owed *o, conn_id conn);
void owed_done(struct owed *o, conn_id conn);

/* At the end of each turn from when the loop drains. The loop's thread. */
void owed_turn(struct owed *o);
/* By what the last owed_turn() saw, and what has come since. */
bool owed_nothing(struct owed *o, conn_id conn);
bool owed_nothing_at_all(struct owed *o);

#endif
