/* log_tail.h - the newest bytes of the log in memory: a ring, mapped twice in a row, so that any
 * run of up to its size is contiguous. Internal to the commit log.
 *
 * Byte b of the log stands at b modulo the ring's size. Locking: `low` and `high` belong to the
 * append lock; log_tail_at() only calculates.
 */
#ifndef TERN_BROKER_STORE_LOG_TAIL_H
#define TERN_BROKER_STORE_LOG_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct log_tail {
    uint8_t *ring;
    size_t bytes;  /* power of two */
    uint64_t low;  /* bytes of the log below are not (any more) in the ring */
    uint64_t high; /* one past the highest place that was ever given out */
};

/* `bytes` is a power of two and at least a page. */
int log_tail_init(struct log_tail *t, size_t bytes, struct err *err);
void log_tail_destroy(struct log_tail *t); /* safe on zeroes and twice */
/* The ring holds nothing; the log goes on at `offset`. */
void log_tail_restart(struct log_tail *t, uint64_t offset);

/* The bytes below `to` may be written over from now on, and those a ring's size further down are
 * gone, whether or not they become the log's. */
void log_tail_give(struct log_tail *t, uint64_t to);
static inline uint8_t *log_tail_at(const struct log_tail *t, uint64_t offset)
{
    return t->ring + (offset & (t->bytes - 1));
}

#endif
