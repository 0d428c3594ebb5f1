/* filter.h - TAG subscriptions: expression text, hash codes, matching. Pure.
 *
 * null, "" and "*" match everything; else tags separated by "||", trimmed, empty ones dropped.
 * A message passes when the hash of its tag is among the codes; a client compares the text again.
 */
#ifndef TERN_BROKER_FILTER_H
#define TERN_BROKER_FILTER_H

#include "common/bytes.h"

enum { FILTER_CODES_INLINE = 6, FILTER_CODES_MAX = 1024 };

struct tag_filter {
    bool all;
    uint16_t count;
    int32_t few[FILTER_CODES_INLINE];
    int32_t *many; /* owned, sorted, when count > FILTER_CODES_INLINE */
};

/* When a filter was taken from a group's subscription: see clients_changed(). */
struct subscription_mark {
    bool taken; /* false: from no group's */
    unsigned counter, changes;
};

void tag_filter_all(struct tag_filter *f);
/* From expression text. 0, -EINVAL (too many), -ENOMEM. */
int tag_filter_parse(struct tag_filter *f, struct bytes expression);
/* From the codes that a client has sent. */
int tag_filter_codes(struct tag_filter *f, const int32_t *codes, size_t count);
int tag_filter_copy(struct tag_filter *to, const struct tag_filter *from);
void tag_filter_destroy(struct tag_filter *f);
/* Same codes, in the same order where they are few. */
bool tag_filter_equal(const struct tag_filter *a, const struct tag_filter *b);
/* For store_filter.match: ctx is the tag_filter. */
bool tag_filter_match(void *filter, int64_t tags_code);
/* Calls each(ctx, tag) for each tag of an expression. */
void tag_filter_each_tag(struct bytes expression, void (*each)(void *ctx, struct bytes tag),
                         void *ctx);

#endif
