/* memory_limit.h - how much memory this process may use: the machine's, or less by its cgroup. */
#ifndef TERN_COMMON_MEMORY_LIMIT_H
#define TERN_COMMON_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes: the smallest of physical memory and the limits of the cgroups (v2 memory.max and
 * memory.high, v1 memory.limit_in_bytes) that the process is in, from its own up to the root. What
 * cannot be read does not count. `root` is put before /proc and /sys (tests; "" in the product).
 * Any thread. */
int64_t memory_limit(const char *root);

#endif
