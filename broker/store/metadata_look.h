/* metadata_look.h - tern/meta and its exports under config/, looked at without changing anything.
 *
 * For the offline tools. What metadata_open() would do about a damaged place it does not do: it
 * says where the place is. Any thread; nothing is kept between calls.
 */
#ifndef TERN_BROKER_STORE_METADATA_LOOK_H
#define TERN_BROKER_STORE_METADATA_LOOK_H

#include "broker/store/metadata_record.h"

struct metadata_look {
    /* Every record of the newest snapshot and the journals since, in the order in which a start
     * applies them. 0, or what ends the look. */
    int (*record)(void *ctx, const struct metadata_record *r);
    /* Something that cannot be used: `at` is the byte, -1 for the file as a whole. `torn`: the end
     * of the newest journal, a write that a crash cut short and that the next start removes. */
    void (*problem)(void *ctx, const char *path, int64_t at, bool torn, const char *text);
    void *ctx;
};

/* 0; NONE: no folder, or nothing in it; MOVED: a file went away meanwhile, since a running broker
 * began a new generation (look again); -errno with err. */
enum { METADATA_LOOK_NONE = 1, METADATA_LOOK_MOVED };
int metadata_look_journal(const char *dir, const struct metadata_look *look, struct err *err);

/* Whose the content of an exported file is. `hashes`: of the newest METADATA_EXPORT_HASH record for
 * that file, empty when there is none. FOREIGN: the next start takes it in. BROKEN: it cannot,
 * *wrong says why. -ENOMEM. */
enum metadata_verdict { METADATA_BLANK, METADATA_OURS, METADATA_FOREIGN, METADATA_BROKEN };
int metadata_look_export(enum metadata_export file, struct bytes content, struct bytes hashes,
                         enum metadata_verdict *verdict, struct err *wrong);
/* "topics.json" and so on. */
const char *metadata_export_name(enum metadata_export file);

#endif
