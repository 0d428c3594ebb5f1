/* config.h - key=value configuration files and options, by a table of keys.
 *
 * RocketMQ's file format (Java properties): '#' or '!' comments, key=value or key:value, backslash
 * escapes and continuation lines, UTF-8. A key of the table is checked and stored into the
 * program's own struct; a key on the list of RocketMQ keys without meaning here gets one log line;
 * any other key is refused, with the nearest known name. Later sources win: file, then -o options,
 * in order. No globals; used at start-up and for UPDATE_*_CONFIG under the caller's lock.
 */
#ifndef TERN_COMMON_CONFIG_H
#define TERN_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum config_type {
    CONFIG_STRING, /* char field[string_max] */
    CONFIG_INT,    /* int64_t field, min..max */
    CONFIG_BOOL,   /* bool field; true/false in any case */
    CONFIG_CHOICE, /* int field: index into choices */
};
enum { CONFIG_LIVE = 1 /* may be changed while running, by UPDATE_BROKER_CONFIG */ };

struct config_key {
    const char *name;
    enum config_type type;
    size_t offset;              /* of the field in the target struct */
    size_t string_max;          /* CONFIG_STRING: size of the field with its NUL */
    int64_t min, max;           /* CONFIG_INT */
    const char *const *choices; /* CONFIG_CHOICE, NULL-terminated */
    const char *initial;        /* default, as text */
    const char *help;           /* one line: meaning and unit */
    unsigned flags;
    bool (*check)(const char *value, char *expected, size_t expected_size); /* may be NULL */
};

struct config_spec {
    const char *program; /* "tern-broker" */
    const struct config_key *keys;
    size_t key_count;
    const char *const *ignored; /* known RocketMQ keys without meaning here, NULL-terminated */
};

enum { CONFIG_KEYS_MAX = 192 };
/* Where each key's value came from: "default", "FILE:LINE" or "-o". The functions below accept NULL
 * for it. */
struct config_origin {
    char text[CONFIG_KEYS_MAX][128];
};

/* Puts every default. Defaults are valid by assertion. */
void config_defaults(const struct config_spec *spec, void *target, struct config_origin *origin);
/* Reads a file of at most CONFIG_FILE_MAX bytes, no pipe. A key that is set twice is warned of.
 * err: file, line, key, what was found and what was expected; an unknown key is -EINVAL too. What
 * precedes the bad line is already stored. */
enum { CONFIG_FILE_MAX = 1 << 20 };
int config_load(const struct config_spec *spec, void *target, struct config_origin *origin,
                const char *path, struct err *err);
/* One "key=value" from `origin_text` ("-o", or "file:line"); white space around key and value does
 * not count, and there are no escapes. An ignored key is 0 after its log line. */
int config_set(const struct config_spec *spec, void *target, struct config_origin *origin,
               const char *key_value, const char *origin_text, struct err *err);
/* Checks a value without storing it. -EINVAL with err; -ENOENT unknown; 1 (CONFIG_IGNORED). */
enum { CONFIG_IGNORED = 1 };
int config_check(const struct config_spec *spec, const char *key, const char *value,
                 struct err *err);
const struct config_key *config_find(const struct config_spec *spec, const char *key);
/* The value as text. */
void config_value(const struct config_key *key, const void *target, struct buf *out);
/* --print-config: "# origin: meaning" and "key = value" for every key, sorted by name and aligned;
 * it can be read back as a file. */
void config_print(const struct config_spec *spec, const void *target,
                  const struct config_origin *origin, struct buf *out);
/* key=value\n for every key, sorted (GET_*_CONFIG). Plain ASCII: Java reads it as Latin-1. */
void config_properties(const struct config_spec *spec, const void *target, struct buf *out);
/* Walks properties text (a file's or UPDATE_BROKER_CONFIG's body): each(ctx, line, key, value) in
 * order, line counted from 1; stops at the first nonzero and returns it. A malformed escape, a NUL
 * or bytes that are not UTF-8 in a key or value give -EINVAL with err ("line 3: ..."). */
typedef int config_each_fn(void *ctx, int line, const char *key, const char *value);
int config_each(struct bytes text, config_each_fn *each, void *ctx, struct err *err);
/* "~/x" in a buffer of `size` bytes becomes "$HOME/x"; other paths stay as they are. err names the
 * key. */
int config_expand_home(const char *key, char *path, size_t size, struct err *err);

#endif
