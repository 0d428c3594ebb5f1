/* promoted.h - tern/promoted: a broker of no group whose file says brokerRole=SLAVE is the master
 * all the same, because an operator has said so. docs/protocol/tern-store.md.
 *
 * The file is there as long as that holds. Called while the store folder is locked.
 */
#ifndef TERN_BROKER_REPLICATION_PROMOTED_H
#define TERN_BROKER_REPLICATION_PROMOTED_H

#include <stdint.h>

#include "common/bytes.h"
#include "common/buf.h"
#include "common/err.h"

/* The epoch that name servers are told, 1 to INT64_MAX. Pure. -EBADMSG with a clause. */
int promoted_parse(uint64_t *epoch, struct bytes text, struct err *err);
void promoted_print(uint64_t epoch, struct buf *out);

/* 0; -ENOENT: not promoted; -EBADMSG: damaged, err says what to do; -errno. */
int promoted_load(uint64_t *epoch, const char *root_dir, struct err *err);
/* Durable when these return 0. */
int promoted_save(uint64_t epoch, const char *root_dir, struct err *err);
int promoted_remove(const char *root_dir, struct err *err); /* fine when it is not there */

#endif
