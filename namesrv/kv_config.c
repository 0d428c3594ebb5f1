/* kv_config.c - see kv_config.h. The table is two levels of jansson objects; what enters is counted
 * against the bounds. */
#include "namesrv/kv_config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"

struct kv_config {
    json_t *namespaces;
    size_t key_count;
    size_t bytes; /* of all names and values */
};

int kv_config_new(struct kv_config **out)
{
    struct kv_config *kv = calloc(1, sizeof(*kv));

    if (!kv)
        return -ENOMEM;
    kv->namespaces = json_object();
    if (!kv->namespaces) {
        free(kv);
        return -ENOMEM;
    }
    *out = kv;
    return 0;
}

struct kv_config *kv_config_free(struct kv_config *kv)
{
    if (kv) {
        json_decref(kv->namespaces);
        free(kv);
    }
    return NULL;
}

static const char *chars(struct bytes text)
{
    return (const char *)text.at;
}

static json_t *find(const json_t *object, struct bytes key)
{
    return key.len > 0 ? json_object_getn(object, chars(key), key.len) : NULL;
}

/* ---- changes ---- */

static int check_text(struct bytes text, const char *what, size_t min, size_t max, struct err *err)
{
    if (text.len < min || text.len > max)
        return err_say(err, KV_INVALID, "%s has %zu bytes, expected %zu to %zu", what, text.len,
                       min, max);
    if (!bytes_is_utf8(text) || (text.len > 0 && memchr(text.at, 0, text.len)))
        return err_say(err, KV_INVALID, "%s is not UTF-8 text", what);
    return 0;
}

static int check_put(struct bytes ns, struct bytes key, struct bytes value, struct err *err)
{
    int r = check_text(ns, "namespace", 1, KV_NAME_MAX, err);

    if (r == 0)
        r = check_text(key, "key", 1, KV_NAME_MAX, err);
    if (r == 0)
        r = check_text(value, "value", 0, KV_VALUE_MAX, err);
    return r;
}

int kv_config_put(struct kv_config *kv, struct bytes ns, struct bytes key, struct bytes value,
                  struct err *err)
{
    json_t *table, *old, *text;
    size_t added, removed = 0;
    int r = check_put(ns, key, value, err);

    if (r != 0)
        return r;
    table = find(kv->namespaces, ns);
    old = table ? find(table, key) : NULL;
    added = value.len + (old ? 0 : key.len) + (table ? 0 : ns.len);
    if (old)
        removed = json_string_length(old);
    if (!table && json_object_size(kv->namespaces) >= KV_NAMESPACES_MAX)
        return err_say(err, KV_FULL, "no room for more than %d namespaces", KV_NAMESPACES_MAX);
    if (!old && kv->key_count >= KV_KEYS_MAX)
        return err_say(err, KV_FULL, "no room for more than %d keys", KV_KEYS_MAX);
    if (kv->bytes - removed + added > KV_BYTES_MAX)
        return err_say(err, KV_FULL, "no room for more than %d bytes of names and values",
                       KV_BYTES_MAX);

    text = json_stringn(value.len ? chars(value) : "", value.len);
    if (!text)
        return err_set(err, -ENOMEM, "keep a value");
    if (!table) {
        if (json_object_setn_new(kv->namespaces, chars(ns), ns.len, json_object()) != 0) {
            json_decref(text);
            return err_set(err, -ENOMEM, "keep a namespace");
        }
        kv->bytes += ns.len;
        added -= ns.len;
        table = find(kv->namespaces, ns);
    }
    if (json_object_setn_new(table, chars(key), key.len, text) != 0)
        return err_set(err, -ENOMEM, "keep a key");
    kv->bytes = kv->bytes - removed + added;
    kv->key_count += old ? 0 : 1;
    return 0;
}

bool kv_config_delete(struct kv_config *kv, struct bytes ns, struct bytes key)
{
    json_t *table = find(kv->namespaces, ns);
    const json_t *old = table ? find(table, key) : NULL;

    if (!old)
        return false;
    kv->bytes -= key.len + json_string_length(old);
    kv->key_count--;
    json_object_deln(table, chars(key), key.len);
    return true;
}

/* ---- reading ---- */

bool kv_config_get(const struct kv_config *kv, struct bytes ns, struct bytes key,
                   struct bytes *value)
{
    const json_t *table = find(kv->namespaces, ns);
    const json_t *found = table ? find(table, key) : NULL;

    if (!found)
        return false;
    *value = bytes_of(json_string_value(found), json_string_length(found));
    return true;
}

bool kv_config_has_namespace(const struct kv_config *kv, struct bytes ns)
{
    return find(kv->namespaces, ns) != NULL;
}

struct member {
    struct bytes key;
    const json_t *value;
};

static int by_key(const void *a, const void *b)
{
    const struct member *left = a;
    const struct member *right = b;
    size_t common = left->key.len < right->key.len ? left->key.len : right->key.len;
    int order = memcmp(left->key.at, right->key.at, common);

    if (order != 0)
        return order;
    return left->key.len < right->key.len ? -1 : left->key.len > right->key.len;
}

/* The members of an object in order of key; yours to free. NULL: none, or no memory (out->failed).
 */
static struct member *sorted(json_t *object, size_t *count, struct buf *out)
{
    struct member *members;
    const char *key;
    size_t key_len, n = 0;
    json_t *value;

    *count = json_object_size(object);
    if (*count == 0)
        return NULL;
    members = calloc(*count, sizeof(*members));
    if (!members) {
        *count = 0;
        out->failed = true;
        return NULL;
    }
    json_object_keylen_foreach(object, key, key_len, value)
    {
        members[n++] = (struct member){.key = bytes_of(key, key_len), .value = value};
    }
    qsort(members, n, sizeof(*members), by_key);
    return members;
}

static void put_table(struct json_out *j, json_t *table)
{
    size_t count;
    struct member *members = sorted(table, &count, j->out);

    jout_object(j);
    for (size_t i = 0; i < count; i++) {
        jout_key_bytes(j, members[i].key);
        jout_bytes(
            j, bytes_of(json_string_value(members[i].value), json_string_length(members[i].value)));
    }
    jout_object_end(j);
    free(members);
}

void kv_config_namespace_json(const struct kv_config *kv, struct bytes ns, struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "table");
    put_table(&j, find(kv->namespaces, ns));
    jout_object_end(&j);
}

void kv_config_file_json(const struct kv_config *kv, struct buf *out)
{
    size_t count;
    struct member *namespaces = sorted(kv->namespaces, &count, out);
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "configTable");
    jout_object(&j);
    for (size_t i = 0; i < count; i++) {
        jout_key_bytes(&j, namespaces[i].key);
        put_table(&j, find(kv->namespaces, namespaces[i].key));
    }
    jout_object_end(&j);
    jout_object_end(&j);
    free(namespaces);
}

/* ---- loading ---- */

static int load_namespace(struct kv_config *kv, struct bytes ns, json_t *table, struct err *err)
{
    const char *key;
    size_t key_len;
    json_t *value;
    int r = check_text(ns, "namespace", 1, KV_NAME_MAX, err);

    if (r != 0)
        return r;
    if (!json_is_object(table))
        return err_say(err, KV_INVALID, "configTable: the value of %.*s is not an object",
                       (int)ns.len, chars(ns));
    /* an emptied namespace is known, too */
    if (json_object_setn_new(kv->namespaces, chars(ns), ns.len, json_object()) != 0)
        return -ENOMEM;
    kv->bytes += ns.len;
    json_object_keylen_foreach(table, key, key_len, value)
    {
        if (!json_is_string(value))
            return err_say(err, KV_INVALID, "configTable: the value of %s is not text", key);
        r = kv_config_put(kv, ns, bytes_of(key, key_len),
                          bytes_of(json_string_value(value), json_string_length(value)), err);
        if (r != 0)
            return r;
    }
    return 0;
}

static int load_tree(struct kv_config *kv, json_t *tree, struct err *err)
{
    json_t *namespaces = json_object_get(tree, "configTable");
    const char *ns;
    size_t ns_len;
    json_t *table;

    if (!json_is_object(tree) || (namespaces && !json_is_object(namespaces)))
        return err_say(err, KV_INVALID, "expected {\"configTable\":{...}}");
    if (json_object_size(namespaces) > KV_NAMESPACES_MAX)
        return err_say(err, KV_FULL, "more than %d namespaces", KV_NAMESPACES_MAX);
    json_object_keylen_foreach(namespaces, ns, ns_len, table)
    {
        int r = load_namespace(kv, bytes_of(ns, ns_len), table, err);

        if (r != 0)
            return r;
    }
    return 0;
}

/* One file into an empty table. -ENOENT, -EINVAL or what reading it gave, with err. */
static int load_file(struct kv_config *kv, const char *path, struct err *err)
{
    struct buf text = {0};
    struct err why = {0};
    json_t *tree = NULL;
    int r = file_load(path, KV_FILE_MAX, &text);

    if (r < 0) {
        buf_destroy(&text);
        return err_set(err, r, "read %s", path);
    }
    tree = json_dialect_load(buf_bytes(&text), &why);
    buf_destroy(&text);
    r = tree ? load_tree(kv, tree, &why) : -EINVAL;
    json_decref(tree);
    if (r == 0)
        return 0;
    json_object_clear(kv->namespaces);
    kv->key_count = kv->bytes = 0;
    return err_say(err, r == -ENOMEM ? r : -EINVAL, "%s: %s", path, why.text);
}

int kv_config_load(struct kv_config *kv, const char *path, struct err *err)
{
    struct err why = {0}, backup_why = {0};
    char backup[4096];
    int r, backup_r;

    assert(json_object_size(kv->namespaces) == 0);
    if (snprintf(backup, sizeof(backup), "%s.bak", path) >= (int)sizeof(backup))
        return err_say(err, -ENAMETOOLONG, "the path of the KV file is too long");
    r = load_file(kv, path, &why);
    if (r == 0)
        return 0;
    backup_r = load_file(kv, backup, &backup_why);
    if (backup_r == 0) {
        log_warn("%s; %s is used instead", why.text, backup);
        return 0;
    }
    if (r == -ENOENT && backup_r == -ENOENT)
        return 0;
    if (backup_r == -ENOENT)
        return err_say(err, r, "%s, and there is no %s", why.text, backup);
    return err_say(err, r, "%s, and %s", why.text, backup_why.text);
}
