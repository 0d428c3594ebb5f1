/* powercut.c - lives of a store, and power cuts at any moment of them.
 *
 *   powercut [--seed S] [--states N] [--jobs J]      that many states; "N passed, N failed"
 *   powercut --seed S --state K [--show]             one of them, with what it is
 *   powercut --planted [--seed S]                    every planted mistake is found in time
 *
 * States come by lives: GROUP of them are cuts of one life. A state is made from its life and its
 * number alone.
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
#include <time.h>
#include <unistd.h>

#include "broker/store/store_internal.h"
#include "common/log.h"
#include "life.h"
#include "runner.h"
#include "turns.h"

enum {
    GROUP = 60,              /* states of one life */
    AGAIN_PERCENT = 25,      /* of states, in which another power cut meets the recovery */
    SYNC_FAULT_PERCENT = 35, /* of lives, in which a sync fails once */
};

struct run {
    uint64_t seed;
    enum plant plant;
    bool show;
    const char *program;
};
static struct run run = {.seed = 1};
static uint64_t state_now;
static char state_text[600];

void life_fail(const char *format, ...)
{
    char text[RUNNER_TEXT];
    va_list args;
    int n;

    n = snprintf(text, sizeof(text), "state %" PRIu64 " (%s): ", state_now, state_text);
    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    runner_failed(text);
}

void turns_stuck(void)
{
    life_fail("every thread waits for another one");
}

/* --- two contents that must be the same --- */

static struct mark newest_mark(const struct content *c)
{
    struct mark marks[2], *newest = NULL;

    for (int i = 0; i < 2; i++) {
        if (c->size >= (size_t)i * MARK_SLOT_APART + MARK_SLOT_BYTES &&
            mark_decode(c->bytes + i * MARK_SLOT_APART, &marks[i]) &&
            (!newest || marks[i].sequence > newest->sequence))
            newest = &marks[i];
    }
    return newest ? *newest : (struct mark){0};
}

/* The log begins at `min`. */
static bool same_content(const char *path, const struct content *a, const struct content *b,
                         uint64_t min)
{
    struct mark x, y;

    if (strcmp(path, "tern/flushed") != 0)
        return a->size == b->size && (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
    x = newest_mark(a);
    y = newest_mark(b);
    /* A start after a clean stop leaves its bit, which means nothing beside `abort`. And when the
     * last queues have gone with their topics, the next start reads the whole log. */
    return x.flushed == y.flushed && x.store_ms == y.store_ms &&
           (x.queues_complete_to == y.queues_complete_to || x.queues_complete_to <= min ||
            y.queues_complete_to <= min);
}

/* Holds no file. */
static bool is_empty(const struct image *image, uint32_t folder)
{
    for (uint32_t i = 0; i < image->name_count; i++) {
        const struct image_name *n = &image->names[i];
        if (n->folder == folder && (!image->nodes[n->node].folder || !is_empty(image, n->node)))
            return false;
    }
    return true;
}

static void expect_same_below(const struct image *a, uint32_t folder, const char *path,
                              const struct image *b, const char *which, uint64_t min)
{
    for (uint32_t i = 0; i < a->name_count; i++) {
        const struct image_name *n = &a->names[i];
        const struct image_node *x = &a->nodes[n->node], *y;
        char child[300];

        if (n->folder != folder)
            continue;
        snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "", n->name);
        if (strcmp(child, "index") == 0 || strncmp(child, "tern/index", 10) == 0)
            continue; /* what is not sure of it is made again from the log, behind the start */
        y = image_find(b, child);
        if (!y && x->folder && is_empty(a, n->node))
            continue; /* of a topic that was deleted: its end was not synced */
        if (!y)
            life_fail("%s is there only after the %s recovery", child, which);
        if (x->folder)
            expect_same_below(a, n->node, child, b, which, min);
        else if (!same_content(child, &x->content, &y->content, min))
            life_fail("%s (%zu and %zu bytes) changed with the second recovery", child,
                      x->content.size, y->content.size);
    }
}

static void expect_same(struct image *a, struct image *b, uint64_t min)
{
    expect_same_below(a, 0, "", b, "first", min);
    expect_same_below(b, 0, "", a, "second", min);
    image_destroy(a);
    image_destroy(b);
}

/* --- one state --- */

static struct cut draw_cut(struct random *r, const struct disk *disk)
{
    size_t events = disk_events(disk);
    struct cut cut = {
        .events = random_below(r, events + 1),
        .kind = (enum cut_kind)random_below(r, CUT_KINDS),
        .seed = random_next(r),
        .unit = random_chance(r, 50) ? 512 : 4096,
        .percent = (unsigned)random_in(r, 10, 95),
        .names_in_order = random_chance(r, 60),
    };

    /* Around names and syncs most can go wrong. */
    if (random_chance(r, 50)) {
        while (cut.events < events && !disk_is_turning_point(disk, cut.events))
            cut.events++;
        if (cut.events < events && random_chance(r, 50))
            cut.events++;
    }
    return cut;
}

static void describe(const struct life *l, const struct cut *cut)
{
    size_t len = strlen(state_text);
    char last[200] = "nothing";

    if (cut->events > 0)
        disk_describe(l->disk, cut->events - 1, last, sizeof(last));
    snprintf(state_text + len, sizeof(state_text) - len,
             "%s%s, event %zu of %zu, after \"%s\", %s, units of %u%s", len ? "; then " : "",
             l->options.sync_flush ? "SYNC_FLUSH" : "ASYNC_FLUSH", cut->events,
             disk_events(l->disk), last, cut_kind_name(cut->kind), cut->unit,
             cut->names_in_order ? ", names in order" : "");
}

static void show_events(const struct life *l, const struct cut *cut)
{
    size_t from = cut->events > 400 ? cut->events - 400 : 0;

    if (!run.show)
        return;
    for (size_t i = from; i < cut->events; i++) {
        char text[200];
        disk_describe(l->disk, i, text, sizeof(text));
        fprintf(stderr, "  %5zu %s\n", i, text);
    }
    fprintf(stderr, "  cut: %s\n", state_text);
}

/* Recovers, twice; goes on; recovers once more. */
static void check_life(struct life *l, struct random *r)
{
    struct image first, second;

    turns_keep(true); /* what the flusher does then is not recovery */
    life_open(l);
    image_read(&first, l->root);
    life_kill(l);
    life_open(l);
    image_read(&second, l->root);
    expect_same(&first, &second, l->min);
    turns_keep(false);
    if (!life_append(l, (int)random_in(r, 1, 12)))
        life_fail("no message can be appended after the recovery");
    if (!life_confirm(l))
        life_fail("nothing is confirmed after the recovery");
    life_verify(l);
    life_verify_index(l);
    if (random_chance(r, 30))
        turns_sleep_ms(1500);
    if (random_chance(r, 50))
        life_kill(l);
    else if (life_stop(l) < 0)
        life_fail("the store does not stop cleanly after the recovery");
    life_open(l);
    life_kill(l);
}

/* What `cut` leaves of the life: a store must come back from it. `again`: another power cut meets
 * it on the way. */
static void check_cut(const struct life *from, const struct cut *cut, struct random *r, bool again)
{
    static const char *const folders[] = {"first", "second"};
    int64_t now_ms = disk_time(from->disk, cut->events) + 1000;
    struct disk *disk = NULL;
    struct image image;
    struct life l;
    const char *root = folders[again];

    describe(from, cut);
    show_events(from, cut);
    disk_cut(from->disk, cut, &image);
    runner_folder(root);
    image_write(&image, root, random_chance(r, 85));
    if (again)
        disk = disk_new(&image, now_ms);
    image_destroy(&image);
    life_resume(&l, from, cut->events, root, disk, random_next(r));
    turns_begin(random_next(r), now_ms);
    recorder_begin(root, disk, run.plant);
    if (again) {
        l.quiet = false;
        l.options.steps = (int)random_in(r, 0, 20);
        life_run(&l);
    } else {
        check_life(&l, r);
    }
    recorder_end();
    turns_end();
    if (again) {
        struct cut next = draw_cut(r, disk);
        check_cut(&l, &next, r, false);
    }
    life_destroy(&l);
    disk_free(disk);
}

/* --- states of a life --- */

static void live(struct life *l, uint64_t number)
{
    struct random r = {random_of(run.seed, number, 1)};
    struct life_options options = life_options_drawn(&r);
    struct disk *disk = disk_new(NULL, 0);
    const char *root = "life";

    if (run.plant == PLANT_EARLY_ANSWER)
        options.index = false; /* it would wait for what only others see as confirmed */
    runner_folder(root);
    life_init(l, &options, root, disk, random_next(&r));
    l->plant = run.plant;
    snprintf(state_text, sizeof(state_text), "in the life itself, %s",
             options.sync_flush ? "SYNC_FLUSH" : "ASYNC_FLUSH");
    turns_begin(random_next(&r), 0);
    recorder_begin(root, disk, run.plant);
    if (random_chance(&r, SYNC_FAULT_PERCENT)) {
        if (random_chance(&r, 30))
            recorder_fault(FAULT_SYNC_FS, (uint64_t)random_in(&r, 1, 4), 1);
        else
            recorder_fault(FAULT_SYNC, (uint64_t)random_in(&r, 1, 150), 1);
        l->timeless = true;
    }
    life_run(l);
    recorder_end();
    turns_end();
}

static void run_states(void *ctx, uint64_t from, uint64_t to)
{
    struct life l;

    (void)ctx;
    state_now = from;
    runner_log_show(run.show);
    runner_group(from);
    live(&l, from / GROUP);
    for (uint64_t state = from; state < to; state++) {
        struct random r = {random_of(run.seed, state, 2)};
        struct cut cut = draw_cut(&r, l.disk);

        runner_item(state);
        state_now = state;
        state_text[0] = '\0';
        runner_log_forget();
        check_cut(&l, &cut, &r, random_chance(&r, AGAIN_PERCENT));
    }
    disk_free(l.disk);
    life_destroy(&l);
}

static void command(void *ctx, uint64_t item, char *to, size_t size)
{
    (void)ctx;
    snprintf(to, size, "%s --seed %" PRIu64 " --state %" PRIu64 "%s%s --show", run.program,
             run.seed, item, run.plant ? " --plant " : "", run.plant ? plant_name(run.plant) : "");
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_all(uint64_t first, uint64_t count, unsigned jobs)
{
    struct runner r = {
        .from = first,
        .to = first + count,
        .group = GROUP,
        .workers = jobs,
        .stop_after = RUNNER_FAILURES,
        .run = run_states,
        .command = command,
    };
    struct runner_result result;
    double began = seconds();

    runner_run(&r, &result);
    printf("%" PRIu64 " states in %.1f s, seed %" PRIu64 "\n", result.passed + result.failed,
           seconds() - began, run.seed);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", result.passed, result.failed);
    return result.failed == 0 ? 0 : 1;
}

/* --- planted mistakes --- */

static int run_planted(unsigned jobs)
{
    /* States within which it must have been found; most are within twenty. */
    static const uint64_t within[PLANTS] = {[PLANT_MARK] = 6000, [PLANT_REWRITE] = 2400};
    enum { WITHIN = 600 };
    unsigned passed = 0, failed = 0;

    for (int p = PLANT_NOTHING + 1; p < PLANTS; p++) {
        struct runner r = {
            .to = within[p] ? within[p] : WITHIN,
            .group = GROUP,
            .workers = jobs,
            .stop_after = 1,
            .run = run_states,
            .quiet = true,
        };
        struct runner_result result;

        run.plant = (enum plant)p;
        runner_run(&r, &result);
        if (result.failed > 0) {
            passed++;
            printf("found %s at state %" PRIu64 ": %.180s\n", plant_name(run.plant),
                   result.first_failed, result.text);
        } else {
            failed++;
            printf("NOT found within %" PRIu64 " states: %s\n", r.to, plant_name(run.plant));
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

/* --- the program --- */

static int usage(void)
{
    fprintf(stderr, "usage: powercut [--seed S] [--states N | --state K] [--jobs J] [--show]\n"
                    "                [--plant NAME | --planted]\n");
    return 2;
}

static bool number_of(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && end != text;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"states", required_argument, NULL, 'n'},
        {"state", required_argument, NULL, 'k'}, {"jobs", required_argument, NULL, 'j'},
        {"plant", required_argument, NULL, 'p'}, {"planted", no_argument, NULL, 'P'},
        {"show", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
    };
    uint64_t states = 2400, first = 0, jobs = 1;
    bool planted = false;
    int option;

    run.program = argv[0];
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool ok = true;

        switch (option) {
        case 's':
            ok = number_of(optarg, &run.seed);
            break;
        case 'n':
            ok = number_of(optarg, &states);
            break;
        case 'k':
            ok = number_of(optarg, &first);
            states = 1;
            break;
        case 'j':
            ok = number_of(optarg, &jobs) && jobs >= 1 && jobs <= 64;
            break;
        case 'p':
            run.plant = plant_parse(optarg);
            ok = run.plant < PLANTS;
            break;
        case 'P':
            planted = true;
            break;
        case 'v':
            run.show = true;
            break;
        default:
            ok = false;
        }
        if (!ok)
            return usage();
    }
    if (optind != argc)
        return usage();
    json_object_seed(1);
    return planted ? run_planted((unsigned)jobs) : run_all(first, states, (unsigned)jobs);
}
