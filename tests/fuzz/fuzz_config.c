/* Any bytes as a configuration file. Each value that is read must come back from the form in which
 * values are printed, and each refusal must say something.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/config.h"
#include "common/config_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    char name[16];
    int64_t port;
    bool on;
    int flush;
};

static const char *const flush_names[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};
static const struct config_key keys[] = {
    {"name", CONFIG_STRING, offsetof(struct settings, name), .string_max = 16, .initial = ""},
    {"port", CONFIG_INT, offsetof(struct settings, port), .max = 65535, .initial = "0"},
    {"on", CONFIG_BOOL, offsetof(struct settings, on), .initial = "true"},
    {"flush", CONFIG_CHOICE, offsetof(struct settings, flush), .choices = flush_names,
     .initial = "SYNC_FLUSH"},
};
static const struct config_spec spec = {.program = "fuzz", .keys = keys, .key_count = 4};

static struct settings settings;
static int last_line;

static int same(void *ctx, int line, const char *key, const char *value)
{
    assert(line == 1);
    assert(strcmp(key, "k") == 0);
    assert(strcmp(value, ctx) == 0);
    return 0;
}

static int see(void *ctx, int line, const char *key, const char *value)
{
    struct err *err = ctx;
    struct buf text = {0};

    assert(line > last_line);
    last_line = line;
    for (int ascii = 0; ascii < 2; ascii++) {
        char *copy = strdup(value);
        assert(copy);
        buf_reset(&text);
        buf_add_str(&text, "k=");
        config_text_add(&text, value, ascii);
        assert(!text.failed);
        assert(config_each(buf_bytes(&text), same, copy, err) == 0);
        free(copy);
    }
    int r = config_check(&spec, key, value, err);
    assert(r == 0 || r == -ENOENT || r == -EINVAL);
    assert(r == 0 || err->text[0]);

    buf_reset(&text);
    buf_add_str(&text, key);
    buf_add_u8(&text, '=');
    buf_add_str(&text, value);
    buf_add_u8(&text, 0);
    (void)config_set(&spec, &settings, NULL, (const char *)buf_at(&text), "-o", err);
    buf_destroy(&text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};

    config_defaults(&spec, &settings, NULL);
    last_line = 0;
    int r = config_each(bytes_of(data, size), see, &err, &err);
    assert(r == 0 || r == -EINVAL);
    assert(r == 0 || err.text[0]);
    return 0;
}
