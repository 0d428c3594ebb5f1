/* index_state.c - see index_state.h. */
#include "broker/store/index_state.h"

#include <errno.h>

#include "common/crc.h"

enum { STATE_VERSION = 1, STATE_CLEAN = 1, STATE_CRC = 4 };
static const uint8_t state_magic[4] = "TNIX";

int index_state_parse(struct bytes in, struct index_state *state)
{
    struct index_state s;
    struct index_known file, before = {.name = -1};

    if (in.len < INDEX_STATE_HEAD + STATE_CRC || memcmp(in.at, state_magic, 4) != 0 ||
        load_be32(in.at + 4) != STATE_VERSION)
        return -EBADMSG;
    if (load_be32(in.at + in.len - STATE_CRC) != crc32_of(0, bytes_of(in.at, in.len - STATE_CRC)))
        return -EBADMSG;
    s.clean = (load_be32(in.at + 8) & STATE_CLEAN) != 0;
    s.shape.slots = load_be32(in.at + 12);
    s.shape.entries_max = load_be32(in.at + 16);
    s.count = load_be32(in.at + 20);
    s.from = load_be64(in.at + 24);
    s.position = load_be64(in.at + 32);
    s.files = bytes_of(in.at + INDEX_STATE_HEAD, in.len - INDEX_STATE_HEAD - STATE_CRC);
    if (!index_shape_ok(&s.shape) || s.count > INDEX_FILES_MAX ||
        s.files.len != (size_t)s.count * INDEX_STATE_FILE || s.from > s.position ||
        s.position > INT64_MAX)
        return -EBADMSG;
    for (uint32_t i = 0; i < s.count; i++) {
        index_state_file(&s, i, &file);
        if (file.name <= before.name || index_header_check(&file.header, &s.shape) ||
            file.header.begin_offset < before.header.end_offset ||
            (uint64_t)file.header.end_offset > s.position)
            return -EBADMSG;
        before = file;
    }
    *state = s;
    return 0;
}

void index_state_file(const struct index_state *state, uint32_t i, struct index_known *file)
{
    const uint8_t *at = state->files.at + (size_t)i * INDEX_STATE_FILE;

    file->lost = false;
    file->name = (int64_t)load_be64(at);
    index_header_decode(at + 8, &file->header);
}

void index_state_put(struct buf *out, const struct index_state *state,
                     const struct index_known *files)
{
    size_t begin = out->len;
    uint8_t header[INDEX_HEADER_BYTES];

    buf_add(out, state_magic, sizeof(state_magic));
    buf_add_be32(out, STATE_VERSION);
    buf_add_be32(out, state->clean ? STATE_CLEAN : 0);
    buf_add_be32(out, state->shape.slots);
    buf_add_be32(out, state->shape.entries_max);
    buf_add_be32(out, state->count);
    buf_add_be64(out, state->from);
    buf_add_be64(out, state->position);
    for (uint32_t i = 0; i < state->count; i++) {
        buf_add_be64(out, (uint64_t)files[i].name);
        index_header_encode(header, &files[i].header);
        buf_add(out, header, sizeof(header));
    }
    if (!out->failed)
        buf_add_be32(out, crc32_of(0, bytes_of(buf_at(out) + begin, out->len - begin)));
}
