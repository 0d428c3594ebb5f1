/* index_keys.h - the keys under which a record is entered into the key index. Pure. */
#ifndef TERN_BROKER_STORE_INDEX_KEYS_H
#define TERN_BROKER_STORE_INDEX_KEYS_H

#include "broker/store/record.h"

/* Calls each(ctx, hash) for every key of the record, in the order of its entries: UNIQ_KEY, then
 * each word of KEYS; none for a rollback. As long as it returns 0; returns the last. */
int index_each_key(const struct record *r, int (*each)(void *ctx, uint32_t hash), void *ctx);

#endif
