/* tern_file.h - small files of text below tern/ of the store folder, loaded and replaced as a
 * whole: tern/state, tern/promoted. Called while the store folder is locked.
 */
#ifndef TERN_BROKER_REPLICATION_TERN_FILE_H
#define TERN_BROKER_REPLICATION_TERN_FILE_H

#include "common/buf.h"
#include "common/err.h"

/* Gives at most `most` bytes to `parse`, which returns 0, or -EBADMSG with a clause. 0; -ENOENT;
 * -EBADMSG, err says that the file is damaged, why, and then `what_to_do`; -errno. */
int tern_file_load(const char *root_dir, const char *name, size_t most,
                   int (*parse)(void *out, struct bytes text, struct err *err), void *out,
                   const char *what_to_do, struct err *err);
/* Durable when these return 0. `text` that has failed is -ENOMEM. */
int tern_file_save(const char *root_dir, const char *name, const struct buf *text, struct err *err);
int tern_file_remove(const char *root_dir, const char *name, struct err *err); /* fine without it */

#endif
