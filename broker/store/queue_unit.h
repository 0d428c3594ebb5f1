/* queue_unit.h - consume queue files from outside: their names, and the 20 bytes of an entry as
 * they stand in them. Pure; what the queue table shares with recovery and the offline tools.
 */
#ifndef TERN_BROKER_STORE_QUEUE_UNIT_H
#define TERN_BROKER_STORE_QUEUE_UNIT_H

#include "broker/store/queue_table.h"

/* Far above any real queue, far below what multiplied by 20 overflows. */
#define QUEUE_OFFSET_MAX (INT64_C(1) << 58)
/* What a record, and what a file or a snapshot may claim: each leaves more room than anybody can
 * append. */
#define QUEUE_OFFSET_RECORD_MAX (QUEUE_OFFSET_MAX / 2)
#define QUEUE_OFFSET_FILE_MAX (QUEUE_OFFSET_MAX / 4 * 3)

enum { QUEUE_FILLER_SIZE = 0x7FFFFFFF };

/* --- the 20 bytes --- */

static inline void queue_unit_encode(uint8_t *to, const struct queue_entry *e)
{
    store_be64(to, (uint64_t)e->log_offset);
    store_be32(to + 8, (uint32_t)e->size);
    store_be64(to + 12, (uint64_t)e->tags_code);
}

/* RocketMQ fills the units before the first entry of a queue with these (store.md, 3.1). */
static inline void queue_unit_fill(uint8_t *to)
{
    queue_unit_encode(to, &(struct queue_entry){0, QUEUE_FILLER_SIZE, 0});
}

enum queue_unit { UNIT_EMPTY, UNIT_FILLER, UNIT_ENTRY };

/* What the 20 bytes are. *out is all zero unless they are an entry. */
static inline enum queue_unit queue_unit_decode(const uint8_t *at, struct queue_entry *out)
{
    struct queue_entry e = {(int64_t)load_be64(at), (int32_t)load_be32(at + 8),
                            (int64_t)load_be64(at + 12)};

    *out = (struct queue_entry){0};
    if (e.log_offset == 0 && e.size == QUEUE_FILLER_SIZE && e.tags_code == 0)
        return UNIT_FILLER;
    if (e.log_offset < 0 || e.size <= 0)
        return UNIT_EMPTY;
    *out = e;
    return UNIT_ENTRY;
}

/* Where the record of an entry ends; of anything else 0. */
static inline uint64_t queue_entry_end(const struct queue_entry *e)
{
    return (uint64_t)e->log_offset + (uint64_t)(int64_t)e->size;
}

/* --- names --- */

/* Path of a queue's folder, or of the file that begins at `number` files from 0. */
int queue_folder_path(char *to, size_t to_size, const char *dir, struct bytes topic,
                      int32_t queue_id);
int queue_file_path(char *to, size_t to_size, const char *folder, int64_t first_byte);
/* 20 digits and a multiple of file_bytes. */
bool queue_file_name_parse(const char *name, int64_t file_bytes, int64_t *first_byte);
/* The name of a queue's folder, only the way we and RocketMQ write an id: others could mean the
 * same queue. */
bool queue_id_parse(const char *name, int32_t *out);

#endif
