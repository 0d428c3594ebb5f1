/* Any bytes as a key index file and as tern/index. A file's first 14 bytes choose its shape and the
 * search; what it does not have reads as zeroes. Reading it must stay inside of it, every walk must
 * end, lead down, and yield only entries that can be. The state is tried as it is and with its
 * checksum made right, which lets the rest be reached; what parses comes back the same.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/index_state.h"
#include "common/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes_and_shape {
    struct bytes bytes;
    uint64_t limit; /* of the file */
};

static int read_bytes(void *ctx, uint64_t at, void *to, size_t size)
{
    const struct bytes_and_shape *f = ctx;

    assert(size > 0 && at <= f->limit && size <= f->limit - at);
    memset(to, 0, size);
    if (at < f->bytes.len)
        memcpy(to, f->bytes.at + at, size < f->bytes.len - at ? size : f->bytes.len - at);
    return 0;
}

static void search(struct index_view *v, uint32_t hash, int64_t begin_ms, int64_t end_ms)
{
    struct index_walk walk;
    struct index_entry e;
    uint32_t before = UINT32_MAX;
    int r = index_walk_begin(&walk, v, hash, begin_ms, end_ms);

    assert(r == 0 || (r == -EBADMSG && walk.at == 0));
    do {
        assert(walk.at < before && (walk.at == 0 || walk.at < v->header.next));
        before = walk.at > 0 ? walk.at : before;
        r = index_walk_next(&walk, &e);
        assert(r == 1 || r == 0 || r == -EBADMSG);
        if (r == 1)
            assert(e.hash == hash && e.log_offset >= v->header.begin_offset &&
                   e.log_offset <= v->header.end_offset && walk.at < before);
    } while (r == 1);
    assert(index_walk_next(&walk, &e) == 0);
}

static void read_file(struct bytes in)
{
    struct bytes_and_shape f;
    struct index_shape shape;
    struct index_view view;
    struct index_entry e;
    const char *why;
    int64_t before;
    int r;

    if (in.len < 14)
        return;
    shape = (struct index_shape){.slots = 1 + in.at[0], .entries_max = 2 + load_be16(in.at + 1)};
    assert(index_shape_ok(&shape));
    f.bytes = bytes_of(in.at + 14, in.len - 14);
    f.limit = index_file_bytes(&shape);
    r = index_view_init(&view, &shape, read_bytes, &f, &why);
    assert(r == 0 || (r == -EBADMSG && why));
    if (r < 0)
        return;
    assert(view.header.next >= 1 && view.header.next <= shape.entries_max);
    before = view.header.begin_offset;
    for (uint32_t number = 1; number < view.header.next; number++) {
        assert(index_view_entry(&view, number, &e) == 0);
        if (!index_entry_check(&view, number, &e, before)) {
            assert(e.previous < number && e.log_offset >= before);
            before = e.log_offset;
        }
    }
    assert(index_view_entry(&view, view.header.next, &e) == -EBADMSG);
    for (uint32_t i = 0; i < shape.slots; i++)
        search(&view, load_be32(in.at + 3) / 2 / shape.slots * shape.slots + i, 0, INT64_MAX);
    search(&view, load_be32(in.at + 3) & INT32_MAX, (int64_t)load_be32(in.at + 6) << in.at[12] % 32,
           (int64_t)load_be32(in.at + 9) << in.at[13] % 32);
}

static void read_state(struct bytes in)
{
    struct index_state state;
    struct index_known *files;
    struct buf out = {0};

    if (index_state_parse(in, &state) != 0)
        return;
    files = calloc(state.count + 1, sizeof(*files));
    if (!files)
        return;
    for (uint32_t i = 0; i < state.count; i++) {
        index_state_file(&state, i, &files[i]);
        assert(i == 0 || files[i].name > files[i - 1].name);
        assert(!index_header_check(&files[i].header, &state.shape));
        assert((uint64_t)files[i].header.end_offset <= state.position);
    }
    index_state_put(&out, &state, files);
    assert(out.failed || out.len == in.len);
    buf_destroy(&out);
    free(files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed = malloc(size + 4);

    read_file(bytes_of(data, size));
    read_state(bytes_of(data, size));
    if (!sealed)
        return 0;
    if (size > 0)
        memcpy(sealed, data, size);
    store_be32(sealed + size, crc32_of(0, bytes_of(data, size)));
    read_state(bytes_of(sealed, size + 4));
    free(sealed);
    return 0;
}
