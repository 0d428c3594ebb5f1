/* load.c - see load.h: the threads, the closed loop, and what is measured when.
 *
 * The main thread only waits: it samples the server's use of the CPU when the last worker has begun
 * to measure, and again when the last one has finished.
 */
#include "tools/load_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

enum { EVENTS = 256, CHECK_MS = 1000 };

static double thread_cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void load_post_started(struct load_worker *w)
{
    if (w->posted_started)
        return;
    w->posted_started = true;
    w->cpu_from_s = thread_cpu_s();
    sem_post(w->started);
}

void load_post_finished(struct load_worker *w)
{
    load_post_started(w);
    if (w->posted_finished)
        return;
    w->posted_finished = true;
    w->result.own_cpu_s = thread_cpu_s() - w->cpu_from_s;
    sem_post(w->finished);
}

int load_wait(struct load_worker *w, struct epoll_event *events, int max, int64_t until_ns)
{
    int64_t spin_ns = (int64_t)w->plan->spin_us * 1000;
    int64_t now_ns = clock_mono_ns(), wait_ns;
    int n;

    if (spin_ns > 0) {
        int64_t spin_until_ns = now_ns + spin_ns;

        do {
            n = epoll_wait(w->epoll, events, max, 0);
            now_ns = clock_mono_ns();
        } while (n == 0 && now_ns < spin_until_ns);
        if (n != 0)
            return n;
    }
    wait_ns = until_ns - now_ns;
    if (wait_ns < 0)
        wait_ns = 0;
    return epoll_wait(w->epoll, events, max, (int)((wait_ns + 999999) / 1000000));
}

/* ---- the closed loop ---- */

static void refresh_born(struct load_worker *w)
{
    int64_t ms = clock_wall_ms();

    if (ms != w->born_ms) {
        w->born_ms = ms;
        frame_born(w->born, ms);
    }
}

/* Enters and leaves the measurement as time goes by. What is measured has a rate and a latency, or
 * says why not: time alone does not end it while no thread has any. */
static void update_phase(struct load_worker *w, int64_t now_ns)
{
    if (!w->measuring && now_ns >= w->from_ns) {
        w->measuring = true;
        load_post_started(w);
    }
    if (w->stopped || w->late || now_ns < w->until_ns)
        return;
    if (!atomic_load(w->measured)) {
        w->late = true;
        return;
    }
    w->stopped = true;
    load_post_finished(w);
}

static void stop_now(struct load_worker *w, int64_t now_ns)
{
    w->until_ns = now_ns;
    w->stopped = true;
    load_post_finished(w);
}

static void stop_by_count(struct load_worker *w, int64_t now_ns)
{
    if (w->count && w->result.messages >= w->count && !w->stopped)
        stop_now(w, now_ns);
}

static void note_measured(struct load_worker *w)
{
    if (!atomic_load_explicit(w->measured, memory_order_relaxed))
        atomic_store(w->measured, true);
}

static int on_reply(struct load_worker *w, struct load_conn *c, int64_t now_ns)
{
    const struct remoting_frame *reply = &w->frame;
    uint32_t slot = (uint32_t)reply->opaque - FRAME_OPAQUE_BASE;
    int64_t written_ns;

    if (!remoting_is_response(reply))
        return 0;
    if (slot >= c->window || c->slots[slot].written_ns == 0)
        return -EPROTO; /* an answer to nothing */
    update_phase(w, now_ns);
    written_ns = c->slots[slot].written_ns;
    c->slots[slot].written_ns = 0;
    c->in_flight--;
    w->last_reply_ns = now_ns;
    if (reply->code == 0 && written_ns >= w->from_ns && (written_ns < w->until_ns || !w->stopped)) {
        histogram_add(&w->result.latency, (uint64_t)(now_ns - written_ns));
        note_measured(w);
    }
    if (w->stopped)
        return 0;
    if (w->measuring && reply->code == 0) {
        w->result.replies++;
        w->result.messages += w->plan->batch;
    } else if (w->measuring) {
        load_count_code(&w->result, reply);
        note_measured(w);
    }
    stop_by_count(w, now_ns);
    return w->stopped ? 0 : load_conn_add(w, c, slot);
}

static int serve_conn(struct load_worker *w, struct load_conn *c, uint32_t events)
{
    int r = 0;

    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        r = load_conn_read(w, c, on_reply);
    if (r == 0 && (c->out.len || (events & EPOLLOUT)))
        r = load_conn_flush(w, c);
    return r < 0 ? load_conn_lost(w, c, r) : TOOL_DONE;
}

static int fill_windows(struct load_worker *w)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        struct load_conn *c = &w->conns[i];
        int r = 0;

        for (uint32_t slot = 0; slot < c->window && r == 0; slot++)
            r = load_conn_add(w, c, slot);
        if (r == 0)
            r = load_conn_flush(w, c);
        if (r < 0)
            return load_conn_lost(w, c, r);
    }
    return TOOL_DONE;
}

static uint64_t in_flight(const struct load_worker *w)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < w->conn_count; i++)
        sum += w->conns[i].in_flight;
    return sum;
}

/* What has had no reply by now is older than any latency measured, and must not go unseen. */
static void count_unanswered(struct load_worker *w, int64_t now_ns)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        for (uint32_t slot = 0; slot < w->conns[i].window; slot++) {
            int64_t written_ns = w->conns[i].slots[slot].written_ns;

            if (written_ns == 0)
                continue;
            w->result.unanswered++;
            histogram_add(&w->result.latency, (uint64_t)(now_ns - written_ns));
        }
    }
}

static int check_stall(struct load_worker *w, int64_t now_ns)
{
    if (now_ns - w->last_reply_ns < (int64_t)LOAD_STALL_MS * 1000000)
        return TOOL_DONE;
    return err_say(&w->err, TOOL_UNREACHABLE, "no reply from %s for %d s", w->conns[0].address,
                   LOAD_STALL_MS / 1000);
}

static int run_closed_loop(struct load_worker *w)
{
    struct epoll_event events[EVENTS];
    int64_t now_ns = clock_mono_ns();
    int r;

    w->last_reply_ns = now_ns;
    refresh_born(w);
    r = fill_windows(w);
    while (r == TOOL_DONE) {
        int64_t next_ns = !w->measuring ? w->from_ns : w->until_ns;
        int n;

        if (w->stopped)
            next_ns = w->until_ns + (int64_t)LOAD_DRAIN_MS * 1000000;
        else if (w->late) /* for the first answer */
            next_ns = INT64_MAX;
        if (next_ns > now_ns + (int64_t)CHECK_MS * 1000000)
            next_ns = now_ns + (int64_t)CHECK_MS * 1000000;
        n = load_wait(w, events, EVENTS, next_ns);
        if (n < 0 && errno != EINTR)
            return err_say(&w->err, TOOL_REFUSED, "epoll_wait: %s", strerror(errno));
        refresh_born(w);
        for (int i = 0; i < n && r == TOOL_DONE; i++)
            r = serve_conn(w, events[i].data.ptr, events[i].events);
        now_ns = clock_mono_ns();
        update_phase(w, now_ns);
        if (w->late && !w->stopped && atomic_load(w->measured))
            stop_now(w, now_ns); /* with all answers of the same read */
        if (w->stopped &&
            (in_flight(w) == 0 || now_ns >= w->until_ns + (int64_t)LOAD_DRAIN_MS * 1000000)) {
            count_unanswered(w, now_ns);
            break;
        }
        if (r == TOOL_DONE && !w->stopped)
            r = check_stall(w, now_ns);
    }
    return r;
}

/* ---- threads ---- */

static void *worker_main(void *arg)
{
    struct load_worker *w = arg;

    w->status = w->plan->oneway ? load_run_oneway(w) : run_closed_loop(w);
    load_post_finished(w); /* also when it failed: nobody may wait for it */
    return NULL;
}

struct run {
    const struct load_plan *plan;
    struct load_worker *workers;
    struct load_conn *conns;
    pthread_t threads[LOAD_THREADS_MAX];
    unsigned thread_count; /* that have started */
    struct frame_template *templates;
    size_t template_count;
    sem_t started, finished;
    atomic_bool measured;
};

static int make_templates(struct run *run, struct err *err)
{
    const struct load_plan *plan = run->plan;
    size_t total = 0, at = 0;

    for (unsigned i = 0; i < plan->target_count; i++)
        total += (size_t)plan->targets[i].queues;
    run->templates = calloc(total, sizeof(*run->templates));
    if (!run->templates)
        return err_say(err, TOOL_REFUSED, "out of memory");
    for (unsigned i = 0; i < plan->target_count; i++) {
        for (int32_t q = 0; q < plan->targets[i].queues; q++) {
            struct frame_spec spec = {.topic = plan->topic,
                                      .numbered = plan->topics > 1,
                                      .queue = q,
                                      .body_bytes = plan->body_bytes,
                                      .batch = plan->batch,
                                      .oneway = plan->oneway,
                                      .serialize = plan->binary ? REMOTING_BINARY : REMOTING_JSON};
            if (frame_template_make(&run->templates[at], &spec) < 0)
                return err_say(err, TOOL_USAGE, "a request of %u x %zu bytes is too large",
                               plan->batch, plan->body_bytes);
            at++;
            run->template_count = at;
        }
    }
    /* every request may wait in user space at once */
    uint64_t each = run->templates[0].bytes.len;
    if (!plan->oneway && each * plan->window > LOAD_MEMORY_MAX / plan->connections)
        return err_say(err, TOOL_USAGE,
                       "%u connections x %u in flight x %llu bytes is over %d bytes at once",
                       plan->connections, plan->window, (unsigned long long)each, LOAD_MEMORY_MAX);
    return TOOL_DONE;
}

static void deal_connections(struct run *run)
{
    const struct load_plan *plan = run->plan;
    unsigned used = 0;

    for (unsigned i = 0; i < plan->connections; i++)
        run->conns[i].fd = -1;
    for (unsigned t = 0; t < plan->threads; t++) {
        struct load_worker *w = &run->workers[t];

        w->conns = run->conns + used;
        w->conn_count = plan->connections / plan->threads + (t < plan->connections % plan->threads);
        used += w->conn_count;
    }
    for (unsigned i = 0; i < plan->connections; i++) {
        struct load_conn *c = &run->conns[i];
        unsigned target = i % plan->target_count, first = 0;

        for (unsigned k = 0; k < target; k++)
            first += (unsigned)plan->targets[k].queues;
        c->address = plan->targets[target].address;
        c->templates = run->templates + first;
        c->template_count = (unsigned)plan->targets[target].queues;
        c->next_template = i / plan->target_count % c->template_count;
        c->next_topic = (uint32_t)((uint64_t)plan->topics * i / plan->connections);
        c->window = plan->oneway ? 1 : plan->window;
    }
}

static int open_worker(struct load_worker *w)
{
    int r = TOOL_DONE;

    w->read_buf = malloc(LOAD_READ_BYTES);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!w->read_buf || w->epoll < 0)
        return err_say(&w->err, TOOL_REFUSED, "epoll: %s", strerror(errno));
    for (unsigned i = 0; i < w->conn_count && r == TOOL_DONE; i++)
        r = load_conn_open(w, &w->conns[i]);
    return r;
}

static int prepare(struct run *run, struct err *err)
{
    const struct load_plan *plan = run->plan;
    int r;

    run->workers = calloc(plan->threads, sizeof(*run->workers));
    run->conns = calloc(plan->connections, sizeof(*run->conns));
    if (!run->workers || !run->conns)
        return err_say(err, TOOL_REFUSED, "out of memory");
    for (unsigned t = 0; t < plan->threads; t++)
        run->workers[t].epoll = -1;
    r = make_templates(run, err);
    if (r != TOOL_DONE)
        return r;
    deal_connections(run);
    for (unsigned t = 0; t < plan->threads; t++) {
        struct load_worker *w = &run->workers[t];

        w->plan = plan;
        w->started = &run->started;
        w->finished = &run->finished;
        w->measured = &run->measured;
        w->next_id = (uint64_t)t << 40 | (uint64_t)(clock_mono_ns() & 0xffffffff);
        w->count = (uint64_t)plan->count / plan->threads;
        if (plan->count && w->count == 0)
            w->count = 1;
        r = open_worker(w);
        if (r != TOOL_DONE) {
            *err = w->err;
            return r;
        }
    }
    return TOOL_DONE;
}

static int start(struct run *run, struct err *err)
{
    const struct load_plan *plan = run->plan;
    int64_t from_ns = clock_mono_ns() + plan->warmup_ms * 1000000;

    for (unsigned t = 0; t < plan->threads; t++) {
        struct load_worker *w = &run->workers[t];
        int r;

        w->from_ns = from_ns;
        w->until_ns = from_ns + plan->duration_ms * 1000000;
        r = pthread_create(&run->threads[t], NULL, worker_main, w);
        if (r != 0)
            return err_say(err, TOOL_REFUSED, "start a thread: %s", strerror(r));
        run->thread_count++;
    }
    return TOOL_DONE;
}

static void wait_all(sem_t *sem, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        while (sem_wait(sem) < 0 && errno == EINTR)
            ;
    }
}

static void measure(struct run *run, struct load_result *result, struct err *err, int *status)
{
    struct process_use before = {0}, after = {0};
    int64_t from_ns, until_ns;
    int r = 0;

    wait_all(&run->started, run->thread_count);
    from_ns = clock_mono_ns();
    if (run->plan->pid)
        r = process_use(run->plan->pid, &before, err);
    wait_all(&run->finished, run->thread_count);
    until_ns = clock_mono_ns();
    if (run->plan->pid && r == 0)
        r = process_use(run->plan->pid, &after, err);
    if (r < 0) {
        *status = TOOL_NOT_FOUND;
        return;
    }
    result->has_use = run->plan->pid != 0;
    result->use_elapsed_s = (double)(until_ns - from_ns) / 1e9;
    result->use = (struct process_use){.cpu_s = after.cpu_s - before.cpu_s,
                                       .cpu_ticks = after.cpu_ticks - before.cpu_ticks,
                                       .voluntary = after.voluntary - before.voluntary,
                                       .involuntary = after.involuntary - before.involuntary};
}

static int collect(struct run *run, struct load_result *result, struct err *err)
{
    int64_t from_ns = INT64_MAX, until_ns = 0;
    int status = TOOL_DONE;

    for (unsigned t = 0; t < run->thread_count; t++) {
        struct load_worker *w = &run->workers[t];

        if (w->status != TOOL_DONE && status == TOOL_DONE) {
            status = w->status;
            *err = w->err;
        }
        if (w->from_ns < from_ns)
            from_ns = w->from_ns;
        if (w->until_ns > until_ns)
            until_ns = w->until_ns;
        load_merge(result, &w->result);
    }
    result->elapsed_s = (double)(until_ns - from_ns) / 1e9;
    return status;
}

static void destroy(struct run *run)
{
    for (unsigned i = 0; run->conns && i < run->plan->connections; i++)
        load_conn_close(&run->conns[i]);
    for (unsigned t = 0; run->workers && t < run->plan->threads; t++) {
        free(run->workers[t].read_buf);
        if (run->workers[t].epoll >= 0)
            close(run->workers[t].epoll);
    }
    for (size_t i = 0; i < run->template_count; i++)
        frame_template_destroy(&run->templates[i]);
    free(run->templates);
    free(run->conns);
    free(run->workers);
    sem_destroy(&run->started);
    sem_destroy(&run->finished);
}

int load_run(const struct load_plan *plan, struct load_result *result, struct err *err)
{
    struct run run = {.plan = plan};
    int status = TOOL_DONE, r;

    *result = (struct load_result){.messages = 0};
    if (sem_init(&run.started, 0, 0) < 0 || sem_init(&run.finished, 0, 0) < 0)
        return err_say(err, TOOL_REFUSED, "semaphores: %s", strerror(errno));
    r = prepare(&run, err);
    if (r == TOOL_DONE)
        r = start(&run, err);
    if (r == TOOL_DONE)
        measure(&run, result, err, &status);
    for (unsigned t = 0; t < run.thread_count; t++)
        pthread_join(run.threads[t], NULL);
    if (r == TOOL_DONE) {
        r = collect(&run, result, err);
        if (r == TOOL_DONE)
            r = status;
    }
    destroy(&run);
    return r;
}

void load_merge(struct load_result *to, const struct load_result *from)
{
    to->elapsed_s += from->elapsed_s;
    to->messages += from->messages;
    to->replies += from->replies;
    to->refused += from->refused;
    to->unanswered += from->unanswered;
    for (unsigned i = 0; i < from->code_count; i++) {
        unsigned k = 0;

        while (k < to->code_count && to->codes[k].code != from->codes[i].code)
            k++;
        if (k == LOAD_CODES_MAX)
            continue;
        if (k == to->code_count)
            to->codes[to->code_count++] = (struct load_code){.code = from->codes[i].code};
        to->codes[k].replies += from->codes[i].replies;
    }
    if (to->remark[0] == '\0')
        memcpy(to->remark, from->remark, sizeof(to->remark));
    histogram_merge(&to->latency, &from->latency);
    to->has_use = to->has_use || from->has_use;
    to->use_elapsed_s += from->use_elapsed_s;
    to->use.cpu_s += from->use.cpu_s;
    to->use.cpu_ticks += from->use.cpu_ticks;
    to->use.voluntary += from->use.voluntary;
    to->use.involuntary += from->use.involuntary;
    to->own_cpu_s += from->own_cpu_s;
}
