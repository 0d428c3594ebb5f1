/* group_wire.c - see group_wire.h; the layout of a core message is in docs/protocol/replication.md.
 */
#include "broker/replication/group_wire.h"

#include <assert.h>
#include <errno.h>

enum {
    LENGTH_BYTES = 4,
    FLAG_GRANTED = 1,
    FLAG_AGAIN = 2,
    FLAG_UNCLEAN = 4,
    FLAG_BEGINS = 1,
    NUMBERS = 13,                             /* of 64 bits, in every core message */
    CORE_FIXED = 1 + 1 + 2 + 1 + NUMBERS * 8, /* type, flags, from, epoch count, numbers */
};

static size_t begin(struct buf *out, enum group_frame_type type)
{
    size_t at = out->len;

    buf_add_be32(out, 0);
    buf_add_u8(out, (uint8_t)type);
    return at;
}

static void end(struct buf *out, size_t at, uint64_t more)
{
    if (!out->failed)
        store_be32(buf_at(out) + at, (uint32_t)(out->len - at - LENGTH_BYTES + more));
}

void group_wire_put_core(struct buf *out, const struct core_message *m)
{
    const uint64_t numbers[NUMBERS] = {
        m->term,    m->asked,  m->epoch, m->end,        m->last_epoch, m->confirmed, m->received,
        m->flushed, m->offset, m->size,  m->data_epoch, m->data_start, m->first,
    };
    size_t at = begin(out, GROUP_CORE);

    assert(m->epoch_count <= CORE_EPOCHS_MAX && m->size <= CORE_FRAME_MAX);
    assert(m->size == 0 || m->type == CORE_DATA);
    buf_add_u8(out, (uint8_t)m->type);
    buf_add_u8(out, (uint8_t)((m->granted ? FLAG_GRANTED : 0) | (m->again ? FLAG_AGAIN : 0) |
                              (m->unclean ? FLAG_UNCLEAN : 0)));
    buf_add_be16(out, m->from);
    buf_add_u8(out, m->epoch_count);
    for (unsigned i = 0; i < NUMBERS; i++)
        buf_add_be64(out, numbers[i]);
    for (unsigned i = 0; i < m->epoch_count; i++) {
        buf_add_be64(out, m->epochs[i].epoch);
        buf_add_be64(out, m->epochs[i].start);
    }
    end(out, at, m->size);
}

void group_wire_put_meta(struct buf *out, bool begins, uint64_t upto, struct bytes records)
{
    size_t at = begin(out, GROUP_META);

    buf_add_u8(out, begins ? FLAG_BEGINS : 0);
    buf_add_be64(out, upto);
    buf_add(out, records.at, records.len);
    end(out, at, 0);
}

void group_wire_put_meta_ack(struct buf *out, uint64_t upto)
{
    size_t at = begin(out, GROUP_META_ACK);

    buf_add_be64(out, upto);
    end(out, at, 0);
}

/* --- taking apart --- */

static const char *take_epochs(struct core_message *m, const uint8_t *at)
{
    for (unsigned i = 0; i < m->epoch_count; i++, at += 16) {
        m->epochs[i] = (struct core_epoch){load_be64(at), load_be64(at + 8)};
        if (m->epochs[i].start > INT64_MAX || m->epochs[i].start > m->end)
            return "an epoch begins behind the end of the log";
        if (m->epochs[i].epoch > CORE_EPOCH_MAX)
            return "a message with an epoch out of range";
        if (i > 0 && (m->epochs[i].epoch <= m->epochs[i - 1].epoch ||
                      m->epochs[i].start < m->epochs[i - 1].start))
            return "epochs do not rise";
    }
    return NULL;
}

static const char *take_core(struct bytes in, struct group_frame *out)
{
    struct core_message *m = &out->message;
    uint64_t *const numbers[NUMBERS] = {
        &m->term,       &m->asked,      &m->epoch,   &m->end,    &m->last_epoch,
        &m->confirmed,  &m->received,   &m->flushed, &m->offset, &m->size,
        &m->data_epoch, &m->data_start, &m->first,
    };
    size_t epochs;

    if (in.len < CORE_FIXED)
        return "a message is too short";
    if (in.at[0] > CORE_TAKE_OVER)
        return "a message of an unknown type";
    m->type = in.at[0];
    if (in.at[1] & ~(FLAG_GRANTED | FLAG_AGAIN | FLAG_UNCLEAN))
        return "a message with unknown flags";
    m->granted = in.at[1] & FLAG_GRANTED;
    m->again = in.at[1] & FLAG_AGAIN;
    m->unclean = in.at[1] & FLAG_UNCLEAN;
    m->from = load_be16(in.at + 2);
    m->epoch_count = in.at[4];
    if (m->from == 0)
        return "a message from nobody";
    for (unsigned i = 0; i < NUMBERS; i++)
        *numbers[i] = load_be64(in.at + 5 + 8 * i);
    if (m->end > INT64_MAX || m->confirmed > INT64_MAX || m->received > INT64_MAX ||
        m->flushed > INT64_MAX || m->offset > INT64_MAX || m->data_start > INT64_MAX ||
        m->first > INT64_MAX)
        return "a message with an offset out of range";
    if (m->term > CORE_TERM_MAX || m->asked > CORE_TERM_MAX)
        return "a message with a term that no epoch can have";
    if (m->epoch > CORE_EPOCH_MAX || m->last_epoch > CORE_EPOCH_MAX ||
        m->data_epoch > CORE_EPOCH_MAX)
        return "a message with an epoch out of range";
    if (m->epoch_count > CORE_EPOCHS_MAX)
        return "a message with too many epochs";
    epochs = 16u * m->epoch_count;
    if (in.len < CORE_FIXED + epochs)
        return "a message is too short for its epochs";
    if (m->size > CORE_FRAME_MAX || (m->size > 0 && m->type != CORE_DATA) ||
        m->offset + m->size > INT64_MAX)
        return "a message with a size out of range";
    if (m->size > 0 && m->data_start > m->offset)
        return "log bytes from before their epoch";
    if (in.len != CORE_FIXED + epochs + m->size)
        return "a message whose length is not that of its parts";
    out->log = bytes_of(in.at + CORE_FIXED + epochs, m->size);
    return take_epochs(m, in.at + CORE_FIXED);
}

static const char *take_payload(struct bytes in, struct group_frame *out)
{
    switch (out->type) {
    case GROUP_CORE:
        return take_core(in, out);
    case GROUP_META:
        if (in.len < 9 || in.len > 9 + GROUP_META_MAX)
            return "metadata of a size out of range";
        if (in.at[0] & ~FLAG_BEGINS)
            return "metadata with unknown flags";
        out->begins = in.at[0] & FLAG_BEGINS;
        out->upto = load_be64(in.at + 1);
        out->records = bytes_of(in.at + 9, in.len - 9);
        return NULL;
    case GROUP_META_ACK:
        if (in.len != 8)
            return "an acknowledgement of a wrong size";
        out->upto = load_be64(in.at);
        return NULL;
    }
    return "a frame of an unknown type";
}

int group_wire_take(struct bytes in, struct group_frame *out, size_t *used, const char **why)
{
    uint32_t length;

    *used = 0;
    if (in.len < LENGTH_BYTES)
        return GROUP_WIRE_MORE;
    length = load_be32(in.at);
    if (length < 1 || length > GROUP_FRAME_MAX - LENGTH_BYTES) {
        *why = "a frame of a size out of range";
        return -EBADMSG;
    }
    *used = LENGTH_BYTES + length;
    if (in.len < *used)
        return GROUP_WIRE_MORE;
    *out = (struct group_frame){.type = in.at[LENGTH_BYTES]};
    *why = take_payload(bytes_of(in.at + LENGTH_BYTES + 1, length - 1), out);
    return *why ? -EBADMSG : 0;
}
