/* repair.h - a store folder put right offline, as far as the log can tell: see store_rebuild.h.
 *
 * The log is the truth and is only read, unless the caller names an offset to end it at. What else
 * is done: a metadata journal with damage in it is begun anew by a snapshot of what it still has;
 * an export that cannot be read, while the journal has its content, is put aside. One thread.
 */
#ifndef TERN_TOOLS_REPAIR_H
#define TERN_TOOLS_REPAIR_H

#include "broker/store/store_rebuild.h"
#include "tools/store_layout.h"

struct repair {
    const char *root;
    const char *log_dir;      /* NULL: root/commitlog */
    int64_t queue_file_bytes; /* when there is no queue file to learn it from */
    bool cut;
    uint64_t cut_at;
    bool drop_index; /* remove the key index, which the broker makes again from the log */
    int64_t delay_ms[DELAY_LEVELS_MAX];
    int delay_levels;
    void (*note)(void *ctx, const char *text); /* what was done beside the rebuild */
    void *ctx;
};

/* 0; -errno with err: -EBUSY when a broker holds the store, -EINVAL when cut_at is not where a
 * record ends or begins. Problems of the log's files, with which no broker starts, go to findings
 * and are -EBADMSG. */
int repair_run(const struct repair *r, struct findings *findings, struct store_rebuilt *out,
               struct err *err);
/* Whether the log may be cut at that offset: 0 or -EINVAL. */
int repair_check_cut(const struct store_layout *layout, uint64_t at, struct err *err);

#endif
