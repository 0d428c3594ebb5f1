/* entry_reader.h - queue entries read in order, of many queues in turn, in bounded memory.
 *
 * Each queue that is at hand has a window of ENTRY_WINDOW entries; there are at most ENTRY_WINDOWS
 * (64 MiB), and ENTRY_FILES open files. Beyond that the one not used for the longest time gives
 * way, and a look into a queue costs one read. One thread.
 */
#ifndef TERN_TOOLS_ENTRY_READER_H
#define TERN_TOOLS_ENTRY_READER_H

#include "tools/queue_ledger.h"

enum {
    ENTRY_WINDOW = 64,
    ENTRY_WINDOWS = (64 << 20) / (ENTRY_WINDOW * QUEUE_ENTRY_BYTES),
    ENTRY_FILES = 512,
};

struct entry_window;
struct entry_file;

struct entry_reader {
    const char *dir; /* <store>/consumequeue; borrowed */
    int64_t file_bytes;
    struct entry_window *windows;
    uint32_t count, room, hand;
    struct entry_file *files; /* ENTRY_FILES, by hash */
    uint64_t reads;
};

int entry_reader_init(struct entry_reader *r, const char *dir, int64_t file_bytes);
void entry_reader_destroy(struct entry_reader *r);

/* The unit at `offset` of the queue, and the entry in it. Where no file is, it is UNIT_EMPTY. 0 or
 * -errno. */
int entry_reader_at(struct entry_reader *r, struct ledger_queue *q, int64_t offset,
                    enum queue_unit *unit, struct queue_entry *out);
/* The descriptor of the queue's file that begins at that byte, kept by the reader until the next
 * call; -errno. */
int entry_reader_file(struct entry_reader *r, const struct ledger_queue *q, int64_t first_byte);

#endif
