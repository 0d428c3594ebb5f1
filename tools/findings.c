/* findings.c - see findings.h. */
#include "tools/findings.h"

#include <stdio.h>

#include "tools/show.h"

enum { TEXT_MAX = 1024 };

static const char *const kinds[] = {[FINDING_PROBLEM] = "problem", [FINDING_NOTE] = "note"};

void findings_begin(struct findings *f, struct buf *out, bool json, uint64_t most)
{
    *f = (struct findings){.out = out, .json = json, .most = most};
    if (!json)
        return;
    jout_begin(&f->j, out);
    jout_object(&f->j);
    jout_key(&f->j, "findings");
    jout_array(&f->j);
}

static void add_json(struct findings *f, enum finding kind, const char *file, int64_t offset,
                     const char *text)
{
    jout_object(&f->j);
    jout_kv_str(&f->j, "severity", kinds[kind]);
    jout_kv_str(&f->j, "file", file);
    jout_key(&f->j, "offset");
    if (offset < 0)
        jout_null(&f->j);
    else
        jout_i64(&f->j, offset);
    jout_kv_str(&f->j, "what", text);
    jout_object_end(&f->j);
}

static void add_line(struct findings *f, enum finding kind, const char *file, int64_t offset,
                     const char *text)
{
    buf_addf(f->out, "%s: ", kinds[kind]);
    show_text(f->out, bytes_str(file), false);
    if (offset >= 0)
        buf_addf(f->out, " at byte %lld", (long long)offset);
    buf_add_str(f->out, ": ");
    show_text(f->out, bytes_str(text), false);
    buf_add_u8(f->out, '\n');
}

void findings_add(struct findings *f, enum finding kind, const char *file, int64_t offset,
                  const char *format, ...)
{
    uint64_t *count = kind == FINDING_PROBLEM ? &f->problems : &f->notes;
    char text[TEXT_MAX];
    va_list args;

    if (++*count > f->most)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (f->json)
        add_json(f, kind, file, offset, text);
    else
        add_line(f, kind, file, offset, text);
}

static uint64_t left_out(const struct findings *f, uint64_t count)
{
    return count > f->most ? count - f->most : 0;
}

void findings_end(struct findings *f)
{
    uint64_t problems = left_out(f, f->problems), notes = left_out(f, f->notes);

    if (f->json) {
        jout_array_end(&f->j);
        jout_kv_i64(&f->j, "leftOut", (int64_t)(problems + notes));
        return;
    }
    if (problems + notes > 0)
        buf_addf(f->out, "(%llu problems and %llu notes more)\n", (unsigned long long)problems,
                 (unsigned long long)notes);
}
