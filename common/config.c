/* config.c - the table of keys: what a value must look like, where it goes and what to say when it
 * does not fit. The text around it is config_text.c.
 */
#include "common/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/config_text.h"
#include "common/file.h"
#include "common/log.h"

enum { NAME_MAX_SUGGESTED = 64 };

static size_t key_index(const struct config_spec *spec, const struct config_key *key)
{
    return (size_t)(key - spec->keys);
}

static bool is_ignored(const struct config_spec *spec, const char *name)
{
    for (const char *const *p = spec->ignored; p && *p; p++) {
        if (strcmp(*p, name) == 0)
            return true;
    }
    return false;
}

const struct config_key *config_find(const struct config_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->key_count; i++) {
        if (strcmp(spec->keys[i].name, name) == 0)
            return &spec->keys[i];
    }
    return NULL;
}

/* --- what to say --- */

/* `text` as it may stand in a sentence: control characters as \xNN, cut when it is long. */
struct quoted {
    char text[120];
};

static struct quoted quote(const char *text)
{
    struct quoted q;
    size_t at = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (at > sizeof(q.text) - 12) {
            if ((c & 0xC0) != 0x80) { /* not in the middle of a UTF-8 character */
                memcpy(q.text + at, "...", 3);
                at += 3;
                break;
            }
            if (at == sizeof(q.text) - 4)
                continue; /* no UTF-8 at all */
        }
        if (c < 0x20 || c == 0x7f)
            at += (size_t)snprintf(q.text + at, sizeof(q.text) - at, "\\x%02x", c);
        else
            q.text[at++] = (char)c;
    }
    q.text[at] = '\0';
    return q;
}

/* Edits that turn one name into the other; a letter's case is no edit. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_SUGGESTED + 1];
    size_t len = strlen(b);

    if (strlen(a) > NAME_MAX_SUGGESTED || len > NAME_MAX_SUGGESTED)
        return SIZE_MAX;
    for (size_t i = 0; i <= len; i++)
        row[i] = i;
    for (; *a; a++) {
        size_t diagonal = row[0]++;
        for (size_t i = 1; i <= len; i++) {
            bool same = tolower((unsigned char)*a) == tolower((unsigned char)b[i - 1]);
            size_t best = diagonal + !same;
            if (row[i] + 1 < best)
                best = row[i] + 1;
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            diagonal = row[i];
            row[i] = best;
        }
    }
    return row[len];
}

/* The known name that was probably meant, or NULL. */
static const char *nearest(const struct config_spec *spec, const char *name)
{
    size_t best = 2 + strlen(name) / 5; /* only what is nearer than that */
    const char *found = NULL;

    for (size_t i = 0; i < spec->key_count; i++) {
        size_t d = distance(name, spec->keys[i].name);
        if (d < best) {
            best = d;
            found = spec->keys[i].name;
        }
    }
    for (const char *const *p = spec->ignored; p && *p; p++) {
        size_t d = distance(name, *p);
        if (d < best) {
            best = d;
            found = *p;
        }
    }
    return found;
}

/* `where` is "" or ends in ": ". */
static int say_unknown(const struct config_spec *spec, const char *where, const char *name,
                       struct err *err)
{
    const char *near = nearest(spec, name);
    struct quoted q = quote(name);

    if (near)
        return err_say(err, -EINVAL, "%sunknown key \"%s\", did you mean \"%s\"?", where, q.text,
                       near);
    return err_say(err, -EINVAL, "%sunknown key \"%s\"", where, q.text);
}

static void expected_choices(const struct config_key *key, char *to, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; key->choices[i] && at < size; i++) {
        const char *between = i == 0 ? "" : key->choices[i + 1] ? ", " : " or ";
        int n = snprintf(to + at, size - at, "%s%s", between, key->choices[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* --- values --- */

union parsed {
    int64_t integer;
    bool boolean;
    int choice;
};

static bool parse_choice(const struct config_key *key, const char *value, int *out)
{
    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(key->choices[i], value) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* False: *expected says what a value of this key looks like. */
static bool parse_value(const struct config_key *key, const char *value, union parsed *out,
                        char *expected, size_t size)
{
    expected[0] = '\0';
    switch (key->type) {
    case CONFIG_STRING:
        if (strlen(value) >= key->string_max) {
            snprintf(expected, size, "at most %zu bytes", key->string_max - 1);
            return false;
        }
        break;
    case CONFIG_INT:
        if (!bytes_to_i64(bytes_str(value), &out->integer) || out->integer < key->min ||
            out->integer > key->max) {
            snprintf(expected, size, "an integer from %" PRId64 " to %" PRId64, key->min, key->max);
            return false;
        }
        break;
    case CONFIG_BOOL:
        out->boolean = strcasecmp(value, "true") == 0;
        if (!out->boolean && strcasecmp(value, "false") != 0) {
            snprintf(expected, size, "true or false");
            return false;
        }
        break;
    case CONFIG_CHOICE:
        if (!parse_choice(key, value, &out->choice)) {
            expected_choices(key, expected, size);
            return false;
        }
        break;
    }
    return !key->check || key->check(value, expected, size);
}

static void store_value(const struct config_key *key, const char *value, const union parsed *parsed,
                        void *target)
{
    char *field = (char *)target + key->offset;

    switch (key->type) {
    case CONFIG_STRING:
        memcpy(field, value, strlen(value) + 1);
        break;
    case CONFIG_INT:
        memcpy(field, &parsed->integer, sizeof(parsed->integer));
        break;
    case CONFIG_BOOL:
        memcpy(field, &parsed->boolean, sizeof(parsed->boolean));
        break;
    case CONFIG_CHOICE:
        memcpy(field, &parsed->choice, sizeof(parsed->choice));
        break;
    }
}

static int say_bad_value(const struct config_key *key, const char *where, const char *value,
                         const char *expected, struct err *err)
{
    struct quoted q = quote(value);

    return err_say(err, -EINVAL, "%s%s = \"%s\": expected %s", where, key->name, q.text,
                   expected[0] ? expected : "another value");
}

int config_check(const struct config_spec *spec, const char *name, const char *value,
                 struct err *err)
{
    const struct config_key *key = config_find(spec, name);
    union parsed parsed;
    char expected[256];

    if (!key && is_ignored(spec, name))
        return CONFIG_IGNORED;
    if (!key) {
        say_unknown(spec, "", name, err);
        if (err)
            err->code = -ENOENT;
        return -ENOENT;
    }
    if (!parse_value(key, value, &parsed, expected, sizeof(expected)))
        return say_bad_value(key, "", value, expected, err);
    return 0;
}

/* The end of a long path tells more than its beginning. */
static void put_origin(struct config_origin *origin, size_t index, const char *text)
{
    char *to;
    size_t len = strlen(text), room;

    if (!origin)
        return;
    to = origin->text[index];
    room = sizeof(origin->text[index]) - 1;
    if (len <= room) {
        memcpy(to, text, len + 1);
        return;
    }
    memcpy(to, "...", 3);
    memcpy(to + 3, text + len - (room - 3), room - 3 + 1);
}

/* `origin_text` is what precedes the sentence and what is remembered: "broker.conf:3", "-o". */
static int apply(const struct config_spec *spec, void *target, struct config_origin *origin,
                 const char *name, const char *value, const char *origin_text, struct err *err)
{
    const struct config_key *key = config_find(spec, name);
    union parsed parsed;
    char expected[256], where[300];

    if (!key && is_ignored(spec, name)) {
        log_info("%s has no meaning here (%s)", name, origin_text);
        return 0;
    }
    snprintf(where, sizeof(where), "%s: ", origin_text);
    if (!key)
        return say_unknown(spec, where, name, err);
    if (!parse_value(key, value, &parsed, expected, sizeof(expected)))
        return say_bad_value(key, where, value, expected, err);
    store_value(key, value, &parsed, target);
    put_origin(origin, key_index(spec, key), origin_text);
    return 0;
}

void config_defaults(const struct config_spec *spec, void *target, struct config_origin *origin)
{
    assert(spec->key_count <= CONFIG_KEYS_MAX);
    for (size_t i = 0; i < spec->key_count; i++) {
        struct err err;
        const struct config_key *key = &spec->keys[i];
        int r = apply(spec, target, origin, key->name, key->initial, "default", &err);

        assert(r == 0);
    }
}

struct file_walk {
    const struct config_spec *spec;
    void *target;
    struct config_origin *origin;
    const char *path;
    struct err *err;
    int lines[CONFIG_KEYS_MAX]; /* where each key was set; 0: not yet */
};

static int apply_line(void *ctx, int line, const char *key, const char *value)
{
    struct file_walk *walk = ctx;
    char origin_text[280];

    /* A path that does not fit loses its beginning. */
    size_t len = strlen(walk->path), most = sizeof(origin_text) - 16;
    snprintf(origin_text, sizeof(origin_text), "%s%s:%d", len > most ? "..." : "",
             walk->path + (len > most ? len - most : 0), line);
    const struct config_key *known = config_find(walk->spec, key);
    if (known) {
        int *first = &walk->lines[key_index(walk->spec, known)];

        if (*first)
            log_warn("%s: %s is set at line %d already; the last one counts", origin_text, key,
                     *first);
        *first = line;
    }
    return apply(walk->spec, walk->target, walk->origin, key, value, origin_text, walk->err);
}

int config_load(const struct config_spec *spec, void *target, struct config_origin *origin,
                const char *path, struct err *err)
{
    struct file_walk walk = {
        .spec = spec, .target = target, .origin = origin, .path = path, .err = err};
    struct buf text = {0};
    struct stat st;
    int r = file_stat(path, &st);

    if (r == 0 && S_ISFIFO(st.st_mode)) /* it can be read once only, and may never come */
        return err_say(err, -ESPIPE, "read %s: expected a file, found a pipe", path);
    if (r == 0)
        r = file_load(path, CONFIG_FILE_MAX, &text);
    if (r < 0)
        err_set(err, r, "read %s", path);
    else
        r = config_walk(buf_bytes(&text), path, apply_line, &walk, err);
    buf_destroy(&text);
    return r;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && isspace((unsigned char)**text)) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && isspace((unsigned char)(*text)[*len - 1]))
        (*len)--;
}

int config_set(const struct config_spec *spec, void *target, struct config_origin *origin,
               const char *key_value, const char *origin_text, struct err *err)
{
    const char *equals = strchr(key_value, '=');
    char *key = NULL, *value = NULL;
    int r;

    if (!equals) {
        struct quoted q = quote(key_value);
        return err_say(err, -EINVAL, "%s: \"%s\": expected key=value", origin_text, q.text);
    }
    const char *key_at = key_value, *value_at = equals + 1;
    size_t key_len = (size_t)(equals - key_value), value_len = strlen(value_at);
    trim(&key_at, &key_len);
    trim(&value_at, &value_len);
    key = strndup(key_at, key_len);
    value = strndup(value_at, value_len);
    if (!key || !value)
        r = err_set(err, -ENOMEM, "%s", origin_text);
    else if (!bytes_is_utf8(bytes_str(value)))
        r = err_say(err, -EINVAL, "%s: %s: expected UTF-8", origin_text, quote(key).text);
    else
        r = apply(spec, target, origin, key, value, origin_text, err);
    free(key);
    free(value);
    return r;
}

/* --- the values as text --- */

void config_value(const struct config_key *key, const void *target, struct buf *out)
{
    const char *field = (const char *)target + key->offset;
    union parsed v;

    switch (key->type) {
    case CONFIG_STRING:
        buf_add_str(out, field);
        break;
    case CONFIG_INT:
        memcpy(&v.integer, field, sizeof(v.integer));
        buf_add_i64_text(out, v.integer);
        break;
    case CONFIG_BOOL:
        memcpy(&v.boolean, field, sizeof(v.boolean));
        buf_add_str(out, v.boolean ? "true" : "false");
        break;
    case CONFIG_CHOICE:
        memcpy(&v.choice, field, sizeof(v.choice));
        buf_add_str(out, key->choices[v.choice]);
        break;
    }
}

static void add_value(const struct config_key *key, const void *target, bool ascii, struct buf *out)
{
    if (key->type == CONFIG_STRING)
        config_text_add(out, (const char *)target + key->offset, ascii);
    else
        config_value(key, target, out);
}

static int by_name(const void *a, const void *b)
{
    const struct config_key *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void sort_keys(const struct config_spec *spec, const struct config_key **sorted)
{
    assert(spec->key_count <= CONFIG_KEYS_MAX);
    for (size_t i = 0; i < spec->key_count; i++)
        sorted[i] = &spec->keys[i];
    qsort(sorted, spec->key_count, sizeof(*sorted), by_name);
}

void config_print(const struct config_spec *spec, const void *target,
                  const struct config_origin *origin, struct buf *out)
{
    const struct config_key *sorted[CONFIG_KEYS_MAX];
    size_t widest = 0;

    sort_keys(spec, sorted);
    for (size_t i = 0; i < spec->key_count; i++) {
        size_t len = strlen(sorted[i]->name);
        widest = len > widest ? len : widest;
    }
    buf_addf(out, "# %s: where each value comes from, and what it means\n", spec->program);
    for (size_t i = 0; i < spec->key_count; i++) {
        const struct config_key *key = sorted[i];
        const char *from = origin ? origin->text[key_index(spec, key)] : "";

        buf_addf(out, "\n# %s%s%s\n%-*s = ", from, from[0] ? ": " : "", key->help, (int)widest,
                 key->name);
        add_value(key, target, false, out);
        buf_add_u8(out, '\n');
    }
}

void config_properties(const struct config_spec *spec, const void *target, struct buf *out)
{
    const struct config_key *sorted[CONFIG_KEYS_MAX];

    sort_keys(spec, sorted);
    for (size_t i = 0; i < spec->key_count; i++) {
        buf_add_str(out, sorted[i]->name);
        buf_add_u8(out, '=');
        add_value(sorted[i], target, true, out);
        buf_add_u8(out, '\n');
    }
}

int config_expand_home(const char *key, char *path, size_t size, struct err *err)
{
    const char *home = getenv("HOME");
    size_t home_len, rest = strlen(path);

    if (path[0] != '~' || path[1] != '/')
        return 0;
    if (!home || home[0] != '/')
        return err_say(err, -ENOENT, "%s=%s: there is no $HOME; name the whole path", key, path);
    home_len = strlen(home);
    if (home_len + rest > size)
        return err_say(err, -ENAMETOOLONG, "%s=%s is too long below the home folder %s", key, path,
                       home);
    /* the '~' gives its place to the folder; the NUL moves along */
    memmove(path + home_len, path + 1, rest);
    memcpy(path, home, home_len);
    return 0;
}
