/* fuzz_remoting.h - what must hold for every remoting frame, for the targets that make some. */
#ifndef TERN_TESTS_FUZZ_REMOTING_H
#define TERN_TESTS_FUZZ_REMOTING_H

#include <assert.h>
#include <stdlib.h>

#include "common/remoting.h"

/* Writes what a decoded frame says, in its own serialization. */
static inline void fuzz_write(struct buf *out, const struct remoting_frame *f)
{
    struct remoting_meta meta = {.code = f->code,
                                 .opaque = f->opaque,
                                 .flag = f->flag,
                                 .version = f->version,
                                 .language = f->language,
                                 .serialize = f->serialize,
                                 .remark = f->remark};
    struct remoting_writer w;

    remoting_begin(&w, out, &meta);
    for (size_t i = 0; i < f->field_count; i++) {
        struct bytes name = f->fields[i].key;
        char *key = malloc(name.len + 1);
        assert(key);
        /* The binary form has no empty names, and none of our names holds a NUL. */
        if (name.len && bytes_to_cstr(name, key, name.len + 1))
            remoting_put(&w, key, f->fields[i].value);
        free(key);
    }
    remoting_body(&w);
    buf_add(out, f->body.at, f->body.len);
    remoting_end(&w);
}

/* Decodes a copy; what is accepted is written to *once, read and written again, which must change
 * nothing any more. Returns what the decoder said. */
static inline int fuzz_one_frame(struct bytes frame, struct buf *once)
{
    static struct remoting_frame f;
    struct buf twice = {0};
    uint8_t *memory = malloc(frame.len);
    const char *why = NULL;

    assert(memory);
    memcpy(memory, frame.at, frame.len);
    int result = remoting_decode(memory, frame.len, &f, &why);
    assert((result == 0) == (why == NULL));
    if (result == 0) {
        assert(f.field_count <= REMOTING_FIELDS_MAX && f.language < REMOTING_LANGUAGES);
        fuzz_write(once, &f);
        /* A byte that is not UTF-8 takes three in JSON, so a frame may outgrow the limit. */
        if (!once->failed) {
            uint8_t *copy = malloc(once->len);
            assert(copy);
            memcpy(copy, once->data, once->len);
            result = remoting_decode(copy, once->len, &f, &why);
            assert(result == 0);
            fuzz_write(&twice, &f);
            assert(!twice.failed && bytes_equal(buf_bytes(once), buf_bytes(&twice)));
            free(copy);
        }
    }
    buf_destroy(&twice);
    free(memory);
    return result;
}

/* Likewise for a frame made of a header and a body. */
static inline int fuzz_one_header(unsigned serialize, struct bytes header, struct bytes body,
                                  struct buf *once)
{
    struct buf b = {0};
    int result = REMOTING_BAD;

    buf_add_be32(&b, (uint32_t)(4 + header.len + body.len));
    buf_add_be32(&b, serialize << 24 | (uint32_t)(header.len & 0xFFFFFF));
    buf_add(&b, header.at, header.len);
    buf_add(&b, body.at, body.len);
    if (!b.failed)
        result = fuzz_one_frame(buf_bytes(&b), once);
    buf_destroy(&b);
    return result;
}

#endif
