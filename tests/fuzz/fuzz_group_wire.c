/* Any bytes as what another member sends. What is taken lies inside the input and within its
 * bounds, and put again it is the same bytes, so that no two texts mean the same. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/replication/group_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct core_message *m, struct bytes log)
{
    assert(m->type <= CORE_TAKE_OVER && m->from > 0);
    assert(m->term <= CORE_TERM_MAX && m->asked <= CORE_TERM_MAX);
    assert(m->end <= INT64_MAX && m->first <= INT64_MAX && m->confirmed <= INT64_MAX);
    assert(m->received <= INT64_MAX && m->flushed <= INT64_MAX);
    assert(m->size == log.len && m->size <= CORE_FRAME_MAX && m->offset + m->size <= INT64_MAX);
    assert(m->epoch_count <= CORE_EPOCHS_MAX);
    for (unsigned i = 0; i < m->epoch_count; i++) {
        assert(m->epochs[i].start <= m->end);
        assert(i == 0 || (m->epochs[i].epoch > m->epochs[i - 1].epoch &&
                          m->epochs[i].start >= m->epochs[i - 1].start));
    }
}

static void put_again(struct buf *out, const struct group_frame *frame)
{
    switch (frame->type) {
    case GROUP_CORE:
        check_message(&frame->message, frame->log);
        group_wire_put_core(out, &frame->message);
        buf_add(out, frame->log.at, frame->log.len);
        break;
    case GROUP_META:
        assert(frame->records.len <= GROUP_META_MAX);
        group_wire_put_meta(out, frame->begins, frame->upto, frame->records);
        break;
    case GROUP_META_ACK:
        group_wire_put_meta_ack(out, frame->upto);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct group_frame frame;
    struct buf again = {0};
    const char *why = NULL;
    size_t used = 0;
    int r = 0;

    while (r == 0) {
        r = group_wire_take(bytes_of(data, size), &frame, &used, &why);
        if (r != 0)
            break;
        assert(used > 0 && used <= size);
        buf_reset(&again);
        put_again(&again, &frame);
        assert(again.failed || bytes_equal(buf_bytes(&again), bytes_of(data, used)));
        data += used;
        size -= used;
    }
    assert(r == GROUP_WIRE_MORE ? used == 0 || used > size : r == -EBADMSG && why);
    buf_destroy(&again);
    return 0;
}
