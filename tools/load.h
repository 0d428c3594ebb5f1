/* load.h - the load generator: C connections with N requests in flight each, or one-way sends.
 *
 * Each thread has an epoll and its share of the connections. In the closed loop every reply is
 * followed at once by the next request of its slot; a latency runs from the write() that carried
 * the request's first byte to the return of the read() that completed its reply. Counted are
 * replies read between the end of the warm-up and the end; latencies are those of requests written
 * in that time, also where the answer comes later. Time does not end a measurement before the first
 * answer that tells something: to a request written in it, or a refusal. One-way sends have no
 * latency: they are counted from one barrier (a request on every connection, answered after all
 * that was sent before it) to another.
 *
 * A closed loop waits when the server does, so a stall shows in the maximum and in the rate, but
 * delays few requests: percentiles are not those of requests that arrive regardless.
 */
#ifndef TERN_TOOLS_LOAD_H
#define TERN_TOOLS_LOAD_H

#include "tools/client.h"
#include "tools/frames.h"
#include "tools/histogram.h"
#include "tools/process.h"

enum {
    LOAD_CONNECTIONS_MAX = 10000,
    LOAD_WINDOW_MAX = 65536,
    LOAD_THREADS_MAX = 16,
    LOAD_CODES_MAX = 16,
    LOAD_MEMORY_MAX = 1 << 30, /* bytes of requests under way at once */
    LOAD_DRAIN_MS = 5000,      /* for the last replies */
    LOAD_STALL_MS = 10000,     /* no reply for so long: the run has failed */
};
#define LOAD_TIME_MAX_MS (3600 * 1000)
#define LOAD_COUNT_MAX 1000000000

struct load_target {
    const char *address;
    int32_t queues; /* 0 .. queues-1 are written to in turn */
};

struct load_plan {
    const struct load_target *targets; /* connections are dealt out to them in turn */
    unsigned target_count;
    const char *topic;
    unsigned topics; /* above 1: so many numbered ones (frames.h), each with these queues */
    unsigned connections, window, threads, batch;
    size_t body_bytes;
    bool oneway, binary, only_loopback;
    unsigned spin_us; /* poll for so long before sleeping */
    int64_t warmup_ms, duration_ms;
    int64_t count; /* messages to measure; 0: by time alone */
    pid_t pid;     /* whose use of the CPU is measured; 0: nobody's */
};

struct load_code {
    int32_t code;
    uint64_t replies;
};

struct load_result {
    double elapsed_s;
    uint64_t messages;   /* accepted (code 0); one-way: sent */
    uint64_t replies;    /* with code 0 */
    uint64_t unanswered; /* requests without a reply LOAD_DRAIN_MS after the end */
    uint64_t refused;    /* replies with any other code, by code: */
    struct load_code codes[LOAD_CODES_MAX];
    unsigned code_count;
    char remark[160];         /* of the first refusal */
    struct histogram latency; /* ns, of accepted requests; of unanswered ones their age */
    bool has_use;
    double use_elapsed_s;
    struct process_use use; /* during the measurement */
    double own_cpu_s;       /* of the generator's threads, likewise */
};

/* An enum tool_status. Blocks SIGPIPE nowhere: it writes with MSG_NOSIGNAL. */
int load_run(const struct load_plan *plan, struct load_result *result, struct err *err);
/* Adds one run to the sum of several. */
void load_merge(struct load_result *to, const struct load_result *from);

#endif
