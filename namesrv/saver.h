/* saver.h - replaces a file, again and again, without stopping the loop.
 *
 * A thread, made at the first change, writes, syncs and renames (file_replace). While one write is
 * under way later changes gather, and the next write covers all of them. The owner is one loop: all
 * calls, and on_saved, happen on its thread.
 */
#ifndef TERN_NAMESRV_SAVER_H
#define TERN_NAMESRV_SAVER_H

#include "common/buf.h"
#include "common/loop.h"

struct saver;

/* Every change up to number `upto` has been tried: code 0, or negative with a sentence. */
typedef void (*saver_done)(void *ctx, uint64_t upto, int code, const char *why);

/* `path` is copied. Nothing is touched before the first save. 0 or -ENOMEM. */
int saver_new(struct saver **out, const char *path, struct loop *loop, saver_done on_saved,
              void *ctx);
const char *saver_path(const struct saver *s);
/* Takes the file's new text; *number identifies the change. -EAGAIN or -ENOMEM when no thread is to
 * be had, -ESHUTDOWN after saver_stop(): nothing was taken. */
int saver_save(struct saver *s, struct buf *text, uint64_t *number);
/* Waits until everything is written, calls on_saved for it, and ends the thread. While the loop
 * still runs, or before it is freed. Safe twice. */
void saver_stop(struct saver *s);
/* After saver_stop(), when the loop runs no more. Returns NULL. */
struct saver *saver_free(struct saver *s);

#endif
