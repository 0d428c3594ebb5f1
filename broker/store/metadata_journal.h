/* metadata_journal.h - tern/meta on disk: generations of a snapshot and the records since.
 *
 *   snapshot-<generation>   everything as it was when that journal began, or newer
 *   journal-<generation>    records appended since
 *
 * The state is the newest snapshot (none: nothing), then all journals from its generation on. A new
 * generation: the new journal first, appends go there from then on; then its snapshot, written in
 * pieces under another name, synced, renamed; then the older files go. So a crash anywhere leaves a
 * snapshot and every journal since.
 *
 * Owned by one thread at a time (the one that opens, later the metadata thread).
 */
#ifndef TERN_BROKER_STORE_METADATA_JOURNAL_H
#define TERN_BROKER_STORE_METADATA_JOURNAL_H

#include "broker/store/metadata_record.h"

/* --- reading the records of one file; pure apart from read() --- */
enum {
    METADATA_SCAN_WINDOW = 4 * METADATA_RECORD_MAX,
};
/* Bytes that the search for a valid record behind a bad one may look at. */
#define METADATA_SCAN_BUDGET ((uint64_t)256 << 20)

struct metadata_scan {
    int (*read)(void *ctx, void *to, size_t n, int64_t at); /* all n bytes, or -errno */
    void *ctx;
    int64_t size;
    int64_t at;       /* where the next record is expected */
    int64_t bad_from; /* DAMAGE, TORN: [bad_from, at) was left out */
    uint64_t budget;
    struct buf window;
    int64_t window_at; /* file offset of the window's first byte */
};
void metadata_scan_init(struct metadata_scan *s, int (*read)(void *, void *, size_t, int64_t),
                        void *ctx, int64_t size);
void metadata_scan_destroy(struct metadata_scan *s);
/* 0: *out is the next record, borrowed until the next call. END. DAMAGE: bytes that are no record
 * were skipped, more follows. TORN: no record from bad_from to the end. LOST: neither could be told
 * within the budget; the scan is at its end. UNKNOWN: out->kind, or the format of a begin record,
 * is of a newer version; `at` is the record. Negative: read() or the memory failed. */
enum {
    METADATA_SCAN_END = 1,
    METADATA_SCAN_DAMAGE,
    METADATA_SCAN_TORN,
    METADATA_SCAN_LOST,
    METADATA_SCAN_UNKNOWN,
};
int metadata_scan_next(struct metadata_scan *s, struct metadata_record *out);

/* --- the folder --- */
#define METADATA_GENERATION_MIN_BYTES ((int64_t)1 << 20) /* a smaller journal just grows */

struct metadata_journal {
    char *dir;
    int fd; /* of the newest journal */
    uint64_t generation;
    uint64_t snapshot_generation; /* 0: none yet */
    int64_t end;                  /* of the newest journal; all below is synced */
    int64_t bytes;                /* in all journals since the snapshot */
    int64_t snapshot_bytes;
    int64_t min_bytes; /* METADATA_GENERATION_MIN_BYTES, less in tests */
    bool damaged; /* something could not be read: a new generation is due, old files are kept aside
                   */
    /* the snapshot that is being written */
    int snapshot_fd; /* -1: none */
    int64_t snapshot_end;
    uint64_t snapshot_records;
};

/* Makes the folder when needed, gives every record to apply() in order, cuts a torn tail. apply()
 * returns 0 or -errno, which ends the opening. On failure nothing is left open. */
int metadata_journal_open(struct metadata_journal *j, const char *dir,
                          int (*apply)(void *ctx, const struct metadata_record *r), void *ctx,
                          struct err *err);
void metadata_journal_close(struct metadata_journal *j); /* safe on zeroes and twice */

/* Appends whole records and syncs. On failure nothing has happened as far as the journal is
 * concerned: the same bytes can be given again, and must be before any others. */
int metadata_journal_append(struct metadata_journal *j, struct bytes records);
/* The generation in "<what>-<20 digits>", 0 when the name is another. */
uint64_t metadata_generation_of(const char *name, const char *what);
void metadata_journal_path(const struct metadata_journal *j, char *to, size_t size);

/* A new generation. due(); cut(): appends go to the new journal (nothing to do when a snapshot is
 * still missing for the newest one); begin(), add() whole records, commit() or abort(). */
bool metadata_journal_due(const struct metadata_journal *j);
int metadata_journal_cut(struct metadata_journal *j);
int metadata_snapshot_begin(struct metadata_journal *j);
int metadata_snapshot_add(struct metadata_journal *j, struct bytes records, uint64_t count);
int metadata_snapshot_commit(struct metadata_journal *j);
void metadata_snapshot_abort(struct metadata_journal *j);

#endif
