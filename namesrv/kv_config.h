/* kv_config.h - the one table of a name server that outlives it: namespace -> key -> value.
 *
 * In memory, with the text that goes into its file: {"configTable":{ns:{key:value}}}. saver.h
 * writes that file. A namespace stays once it was used, even when its last key is deleted. One
 * owner, one thread; only kv_config_load() touches the disk.
 */
#ifndef TERN_NAMESRV_KV_CONFIG_H
#define TERN_NAMESRV_KV_CONFIG_H

#include "common/buf.h"
#include "common/err.h"

enum {
    KV_NAMESPACES_MAX = 1024,
    KV_KEYS_MAX = 65536, /* of all namespaces */
    KV_NAME_MAX = 511,   /* bytes of a namespace's or key's name */
    KV_VALUE_MAX = 65535,
    KV_BYTES_MAX = 4194304, /* names and values together */
    KV_FILE_MAX = 33554432, /* such a table as JSON, every byte escaped */
};

/* The namespace whose keys are topics with a fixed order of queues. */
#define KV_ORDER_TOPICS "ORDER_TOPIC_CONFIG"

struct kv_config;

int kv_config_new(struct kv_config **out); /* empty; 0 or -ENOMEM */
struct kv_config *kv_config_free(struct kv_config *kv);

/* Reads a file as saver writes it, or RocketMQ. A missing file is an empty table. A file that
 * cannot be read or understood, or that is missing beside its path.bak, gives way to path.bak with
 * a warning in the log; without a good path.bak it is an error. */
int kv_config_load(struct kv_config *kv, const char *path, struct err *err);

/* FULL: one of the bounds above. INVALID: a name or value that is no UTF-8, holds a NUL, or is too
 * long, or an empty name. In both cases err (which may be NULL) says which. -ENOMEM. */
enum { KV_FULL = 1, KV_INVALID };
int kv_config_put(struct kv_config *kv, struct bytes ns, struct bytes key, struct bytes value,
                  struct err *err);
/* True when the key was there. */
bool kv_config_delete(struct kv_config *kv, struct bytes ns, struct bytes key);
/* *value is borrowed until the next change. */
bool kv_config_get(const struct kv_config *kv, struct bytes ns, struct bytes key,
                   struct bytes *value);
bool kv_config_has_namespace(const struct kv_config *kv, struct bytes ns);

/* {"table":{key:value}} in order of key; an unknown namespace is empty. */
void kv_config_namespace_json(const struct kv_config *kv, struct bytes ns, struct buf *out);
/* The text of the file. */
void kv_config_file_json(const struct kv_config *kv, struct buf *out);

#endif
