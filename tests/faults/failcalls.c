/* failcalls.c - one life of a store, again and again, with each of its calls to the file layer
 * failing once: an error of the disk, no space for a while, a short write, no descriptor, a sync
 * that takes long.
 *
 *   failcalls [--fault KIND] [--jobs J] [--every N]    "N passed, N failed"
 *   failcalls --fault KIND --call K [--show]           one of them
 *
 * Nothing crashes; what was acknowledged is there after a restart, and after a power cut; an
 * operator is told with the file's name; and what can go on goes on by itself.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/store.h"
#include "common/log.h"
#include "life.h"
#include "runner.h"
#include "turns.h"

enum {
    CALLS_MAX = 100000,
    FULL_CALLS = 25, /* so many in a row find the disk full */
    OPEN_TRIES = FULL_CALLS + 2,
    PATIENCE_MS = 70000, /* for what is tried again once a minute at most */
    GROUP = 1,
    DAY_MS = 86400000,
};

struct run {
    enum fault_kind kind;
    bool show, all; /* of one call; of all */
    uint64_t every;
    const char *program;
};
static struct run run = {.every = 1};
static uint64_t call_now;
static const char *doing = "";
static char told[65536]; /* errors that were returned instead of logged */

void life_fail(const char *format, ...)
{
    char text[RUNNER_TEXT];
    va_list args;
    int n = snprintf(text, sizeof(text), "%s of call %" PRIu64 " (%s), %s: ", fault_name(run.kind),
                     call_now, recorder_failed(), doing);

    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    runner_failed(text);
}

void turns_stuck(void)
{
    life_fail("every thread waits for another one");
}

/* --- a life that comes by everything --- */

static void begin(struct life *l)
{
    struct err err;

    doing = "at a start";
    for (int tries = 0; life_try_open(l, &err) < 0; tries++) {
        size_t len = strlen(told);
        if (tries == OPEN_TRIES || !recorder_failed()[0])
            life_fail("it does not start: %s", err.text);
        snprintf(told + len, sizeof(told) - len, "%s\n", err.text);
        turns_sleep_ms(100);
    }
    doing = "while it runs";
}

/* Stopped logs are for the operator: he restarts. */
static void go_on(struct life *l)
{
    char reason[160];

    if (!store_stopped(l->store, reason))
        return;
    if (!recorder_failed()[0])
        life_fail("it has stopped: %s", reason);
    (void)life_stop(l);
    begin(l);
}

static void append(struct life *l, int count)
{
    go_on(l);
    (void)life_append(l, count);
    (void)life_confirm(l);
    go_on(l);
}

static void live(struct life *l)
{
    begin(l);
    append(l, 6);
    for (int i = 0; i < 3; i++) {
        life_change_topic(l);
        life_change_group(l);
        life_commit_offset(l);
        life_move_delay(l);
    }
    turns_sleep_ms(1200); /* journal, exports, mark, full pages of queues */
    append(l, 10);
    life_change_topic(l);
    turns_sleep_ms(61000); /* a checkpoint */
    append(l, 8);
    doing = "at a stop";
    (void)life_stop(l);
    begin(l);
    append(l, 4);
    doing = "at a kill";
    life_kill(l);
    begin(l);
    turns_sleep_ms(1200);
    append(l, 4);
    doing = "at a cut";
    life_kill(l);
    life_tell_cut(l, l->messages[l->message_count - 6].log_offset);
    begin(l);
    append(l, 4);
}

/* Whatever has failed is over: all goes on without anybody's help. */
static void expect_going_on(struct life *l)
{
    int64_t until = turns_now_ms() + PATIENCE_MS;

    doing = "when it was over";
    recorder_fault_over();
    go_on(l);
    while (!life_append(l, 4) || !life_confirm(l)) {
        if (turns_now_ms() > until)
            life_fail("no message can be stored");
        turns_sleep_ms(500);
    }
    if (store_disk_full(l->store, NULL))
        life_fail("the store still says that the disk is full");
    life_verify(l);
    for (until = turns_now_ms() + PATIENCE_MS;
         metadata_durable(l->metadata) < metadata_last(l->metadata);) {
        if (turns_now_ms() > until)
            life_fail("changes of topics and groups do not become durable");
        turns_sleep_ms(500);
    }
    if (life_stop(l) < 0 && run.kind != FAULT_EIO && run.kind != FAULT_SYNC)
        life_fail("it does not stop cleanly");
}

/* --- what the operator was told --- */

/* Nothing depends on it, or it is tried again at once in another way. */
static bool need_not_be_told(const char *call)
{
    static const char *const calls[] = {"sync_file_range", "read tern/queues",
                                        /* when older files were removed */
                                        "reopen tern/meta", "fsync tern/meta"};

    /* Its name is what counts; a full disk has room for that. */
    if (run.kind == FAULT_NO_SPACE && strcmp(call, "write abort") == 0)
        return true;
    /* The rest of the last segment, at a start: told when somebody needs it. */
    if (run.kind == FAULT_NO_SPACE && strncmp(call, "fallocate commitlog/", 20) == 0)
        return true;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(call, calls[i]) == 0 ||
            (i == 0 && strncmp(call, calls[0], strlen(calls[0])) == 0))
            return true;
    }
    /* Reads for a consumer: who reads is answered, and tries again. */
    if (!recorder_failed_opening() &&
        (strncmp(call, "read ", 5) == 0 || strncmp(call, "reopen c", 8) == 0))
        return true;
    return run.kind == FAULT_SHORT || run.kind == FAULT_SLOW;
}

static bool was_told(const char *text)
{
    return strstr(runner_log(), text) || strstr(told, text);
}

/* By the file's name; or by that of its folder, of a queue, or by what it is, where that says as
 * much. */
static bool path_was_told(const char *path)
{
    static const struct {
        const char *path, *text;
    } other[] = {
        {"tern/segment.new", "(by way of life/tern)"}, /* a segment in the making */
        {"commitlog", "life/commitlog"},
        {"commitlog", "the log"}, /* and an offset in it */
        {"consumequeue/", "writing consume queues"},
        {"tern/meta", "life/tern/meta"},
        {"", "life"},
    };
    const char *slash = strrchr(path, '/');
    char queue[300];

    if (*path && was_told(slash ? slash + 1 : path))
        return true;
    if (strncmp(path, "consumequeue/", 13) == 0 && slash > path + 13) {
        snprintf(queue, sizeof(queue), "%.*s", (int)(slash - path - 13), path + 13);
        if (was_told(queue))
            return true;
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        size_t len = strlen(other[i].path);
        if ((len == 0 ? !*path : strncmp(path, other[i].path, len) == 0) && was_told(other[i].text))
            return true;
    }
    return false;
}

static void expect_told(void)
{
    if (!need_not_be_told(recorder_failed()) && !path_was_told(recorder_failed_path()))
        life_fail("nobody was told");
}

/* --- one call --- */

static void check_power_cut(struct life *from)
{
    struct cut cut = {.events = disk_events(from->disk), .kind = CUT_NOTHING, .unit = 4096};
    struct image image;
    struct life l;

    doing = "after a power cut";
    disk_cut(from->disk, &cut, &image);
    runner_folder("cut");
    image_write(&image, "cut", true);
    image_destroy(&image);
    life_resume(&l, from, cut.events, "cut", NULL, 1);
    turns_begin(1, disk_time(from->disk, cut.events) + 1000);
    recorder_begin("cut", NULL, PLANT_NOTHING);
    life_open(&l);
    life_kill(&l);
    recorder_end();
    turns_end();
    life_destroy(&l);
}

static const struct life_options options = {
    .sync_flush = true,
    .segment_bytes = 16384,
    .queue_file_bytes = 400,
    .flush_interval_ms = 10,
    .queue_memory = 1 << 20,
    .body_max = 1500,
    .journal_bytes = 1500,
    .batch_percent = 30,
};

/* False: there are not so many calls. */
static bool fail_call(uint64_t call)
{
    struct disk *disk = disk_new(NULL, DAY_MS * (int64_t)call);
    struct life l;
    bool failed;

    call_now = call;
    told[0] = '\0';
    runner_log_forget();
    runner_folder("life");
    life_init(&l, &options, "life", disk, 7);
    l.timeless = true;
    l.forgot = true; /* what is acknowledged must be there, not all that was written */
    /* Days later, so that a warning is not left out because the last life had it too. */
    turns_begin(call, DAY_MS * (int64_t)call);
    recorder_begin("life", disk, PLANT_NOTHING);
    recorder_fault(run.kind, call, run.kind == FAULT_NO_SPACE ? FULL_CALLS : 1);
    live(&l);
    failed = recorder_failed()[0] != '\0';
    expect_going_on(&l);
    if (failed)
        expect_told();
    doing = "after a restart";
    life_open(&l);
    life_kill(&l);
    recorder_end();
    turns_end();
    check_power_cut(&l);
    life_destroy(&l);
    disk_free(disk);
    return failed;
}

static void run_calls(void *ctx, uint64_t from, uint64_t to)
{
    (void)ctx;
    runner_log_show(run.show);
    for (uint64_t call = from; call < to; call++) {
        if ((call - 1) % run.every != 0)
            continue;
        runner_item(call);
        if (!fail_call(call))
            _exit(0); /* the rest would be the same */
    }
}

static void command(void *ctx, uint64_t item, char *to, size_t size)
{
    (void)ctx;
    snprintf(to, size, "%s --fault %s --call %" PRIu64 " --show", run.program, fault_name(run.kind),
             item);
}

static uint64_t failures;

static uint64_t run_kind(uint64_t first, uint64_t count, unsigned jobs)
{
    struct runner r = {
        .from = first,
        .to = first + count,
        .group = GROUP,
        .workers = jobs,
        .stop_after = RUNNER_FAILURES,
        .run = run_calls,
        .command = command,
    };
    struct runner_result result;

    runner_run(&r, &result);
    printf("%s: %" PRIu64 " calls\n", fault_name(run.kind), result.passed + result.failed);
    failures += result.failed;
    return result.passed;
}

static int usage(void)
{
    fprintf(stderr, "usage: failcalls [--fault KIND [--call K [--show]]] [--jobs J] [--every N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"fault", required_argument, NULL, 'f'}, {"call", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},  {"every", required_argument, NULL, 'e'},
        {"show", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
    };
    static const enum fault_kind kinds[] = {FAULT_EIO, FAULT_NO_SPACE, FAULT_SHORT, FAULT_EMFILE,
                                            FAULT_SLOW};
    uint64_t call = 0, passed = 0;
    enum fault_kind only = FAULT_NONE;
    unsigned jobs = 1;
    int option;

    run.program = argv[0];
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'f':
            while (only < FAULT_KINDS && strcmp(fault_name(only), optarg) != 0)
                only++;
            if (only == FAULT_KINDS)
                return usage();
            break;
        case 'c':
            call = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            jobs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'e':
            run.every = strtoull(optarg, NULL, 10);
            break;
        case 'v':
            run.show = true;
            break;
        default:
            return usage();
        }
    }
    if (optind != argc || jobs < 1 || jobs > 64 || run.every < 1 || (call && only == FAULT_NONE))
        return usage();
    json_object_seed(1);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (only != FAULT_NONE && only != kinds[i])
            continue;
        run.kind = kinds[i];
        passed += call ? run_kind(call, 1, 1) : run_kind(1, CALLS_MAX, jobs);
    }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failures);
    return failures == 0 ? 0 : 1;
}
