/* core_epochs.c - see core_epochs.h. */
#include "broker/replication/core_epochs.h"

#include <string.h>

static uint64_t end_of(const struct core_epoch *table, unsigned count, unsigned i, uint64_t end)
{
    return i + 1 < count ? table[i + 1].start : end;
}

uint64_t core_epochs_newest(const struct core_state *s)
{
    return s->epoch_count ? s->epochs[s->epoch_count - 1].epoch : 0;
}

uint64_t core_epochs_last(const struct core_state *s, uint64_t end)
{
    for (unsigned i = s->epoch_count; i-- > 0;) {
        if (s->epochs[i].start < end)
            return s->epochs[i].epoch;
    }
    return 0;
}

const struct core_epoch *core_epochs_at(const struct core_state *s, uint64_t offset, uint64_t end,
                                        uint64_t *part_end)
{
    for (unsigned i = s->epoch_count; i-- > 0;) {
        if (s->epochs[i].start <= offset) {
            *part_end = end_of(s->epochs, s->epoch_count, i, end);
            return &s->epochs[i];
        }
    }
    return NULL;
}

void core_epochs_add(struct core_state *s, uint64_t epoch, uint64_t start)
{
    core_epochs_cut(s, start);
    if (s->epoch_count == CORE_EPOCHS_MAX) {
        s->epochs[1].start = s->epochs[0].start;
        memmove(s->epochs, s->epochs + 1, (CORE_EPOCHS_MAX - 1) * sizeof(s->epochs[0]));
        s->epoch_count--;
    }
    s->epochs[s->epoch_count++] = (struct core_epoch){epoch, start};
}

void core_epochs_cut(struct core_state *s, uint64_t end)
{
    while (s->epoch_count > 0 && s->epochs[s->epoch_count - 1].start >= end)
        s->epoch_count--;
}

bool core_epochs_common(const struct core_state *mine, uint64_t my_end,
                        const struct core_epoch *theirs, unsigned count, uint64_t their_end,
                        uint64_t *common)
{
    for (unsigned i = mine->epoch_count; i-- > 0;) {
        for (unsigned k = count; k-- > 0;) {
            uint64_t a, b;

            if (mine->epochs[i].epoch != theirs[k].epoch ||
                mine->epochs[i].start != theirs[k].start)
                continue;
            a = end_of(mine->epochs, mine->epoch_count, i, my_end);
            b = end_of(theirs, count, k, their_end);
            *common = a < b ? a : b;
            return true;
        }
    }
    return false;
}
