/* metadata_scan.c - walks the records of a journal or snapshot, across damage where it can.
 *
 * A bad record ends the walk only when nothing valid follows: the tail of a write that a crash cut
 * short. Otherwise the bytes between are damage, and everything behind them still counts.
 */
#include <errno.h>

#include "broker/store/metadata_journal.h"

void metadata_scan_init(struct metadata_scan *s, int (*read)(void *, void *, size_t, int64_t),
                        void *ctx, int64_t size)
{
    *s = (struct metadata_scan){
        .read = read, .ctx = ctx, .size = size, .budget = METADATA_SCAN_BUDGET};
}

void metadata_scan_destroy(struct metadata_scan *s)
{
    buf_destroy(&s->window);
}

/* *out = the bytes from `at` on: as many as the longest record has, or all there are. */
static int view(struct metadata_scan *s, int64_t at, struct bytes *out)
{
    int64_t left = s->size - at;
    size_t want = left < METADATA_RECORD_MAX ? (size_t)left : METADATA_RECORD_MAX;
    int64_t window_end = s->window_at + (int64_t)s->window.len;

    if (at < s->window_at || at + (int64_t)want > window_end) {
        size_t n = left < METADATA_SCAN_WINDOW ? (size_t)left : METADATA_SCAN_WINDOW;
        int r;

        buf_reset(&s->window);
        if (!buf_reserve(&s->window, n))
            return -ENOMEM;
        r = s->read(s->ctx, buf_at(&s->window), n, at);
        if (r < 0)
            return r;
        s->window.len = n;
        s->window_at = at;
        window_end = at + (int64_t)n;
    }
    *out = bytes_of(buf_at(&s->window) + (at - s->window_at), (size_t)(window_end - at));
    return 0;
}

/* Where the next valid record begins behind bad_from: s->at. */
static int resync(struct metadata_scan *s)
{
    struct metadata_record found;
    struct bytes in;
    size_t used;
    int r;

    for (s->at = s->bad_from + 1; s->size - s->at >= METADATA_RECORD_MIN; s->at++) {
        uint32_t length;

        r = view(s, s->at, &in);
        if (r < 0)
            return r;
        length = load_be32(in.at);
        if (length < METADATA_RECORD_MIN - 8 || length > METADATA_RECORD_MAX - 8 ||
            length > in.len - 8)
            continue;
        if (length > s->budget) {
            s->at = s->size;
            return METADATA_SCAN_LOST;
        }
        s->budget -= length;
        if (metadata_record_decode(in, &found, &used) != METADATA_RECORD_BAD)
            return METADATA_SCAN_DAMAGE;
    }
    s->at = s->size;
    return METADATA_SCAN_TORN;
}

int metadata_scan_next(struct metadata_scan *s, struct metadata_record *out)
{
    struct bytes in;
    size_t used = 0;
    int r;

    if (s->at >= s->size)
        return METADATA_SCAN_END;
    r = view(s, s->at, &in);
    if (r < 0)
        return r;
    switch (metadata_record_decode(in, out, &used)) {
    case 0:
        s->at += (int64_t)used;
        return 0;
    case METADATA_RECORD_UNKNOWN:
        return METADATA_SCAN_UNKNOWN;
    case METADATA_RECORD_ILLEGAL:
        s->bad_from = s->at;
        s->at += (int64_t)used;
        return METADATA_SCAN_DAMAGE;
    default:
        s->bad_from = s->at;
        return resync(s);
    }
}
