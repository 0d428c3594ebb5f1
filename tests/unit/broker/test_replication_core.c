/* test_replication_core.c - whole groups, simulated from a seed (simulation.h): no schedule loses
 * what was confirmed, and bugs that are planted are found.
 *
 * SIMULATION_SEEDS and SIMULATION_FIRST in the environment ask for more, or for one again;
 * SIMULATION_TALK says what happens in it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "simulation.h"
#include "unit.h"

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static const struct plan plans[] = {
    {.nodes = 2, .copies = 2, .flushed = true, .power_cuts = true},
    {.nodes = 3, .copies = 2, .flushed = true, .power_cuts = true},
    {.nodes = 3, .copies = 3, .flushed = true, .power_cuts = true},
    {.nodes = 2, .copies = 1, .flushed = true, .power_cuts = true},
    {.nodes = 4, .copies = 2, .flushed = true, .power_cuts = true},
    {.nodes = 5, .copies = 3, .flushed = true, .power_cuts = true},
    {.nodes = 2, .copies = 2},
    {.nodes = 3, .copies = 2},
    {.nodes = 3, .copies = 2, .power_cuts = true},
    {.nodes = 4, .copies = 3, .power_cuts = true},
};

START_TEST(no_schedule_loses_what_was_confirmed)
{
    const struct plan *plan = &plans[_i];
    struct simulated seen = {.broken = ""};
    uint64_t first = from_environment("SIMULATION_FIRST", 1);
    uint64_t seeds = from_environment("SIMULATION_SEEDS", 60), total = 0;

    simulation_begin(plan, getenv("SIMULATION_TALK") != NULL);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        bool held = simulation_live(seed);

        seen = simulation_seen();
        ck_assert_msg(held, "plan %d (%u members, %u copies), seed %llu, at %lld ms: %s", _i,
                      plan->nodes, plan->copies, (unsigned long long)seed, (long long)seen.now_ms,
                      seen.broken);
        total += seen.confirmed;
    }
    /* The schedules are worth something. */
    ck_assert_uint_gt(total, seeds * 20);
    ck_assert_uint_gt(seen.crashes, seeds);
    printf("%u members, %u copies: %llu schedules, %llu records confirmed, %llu crashes, %llu "
           "promotions, %llu hand-overs, %llu disks replaced, %llu logs begun anew\n",
           plan->nodes, plan->copies, (unsigned long long)seeds, (unsigned long long)total,
           (unsigned long long)seen.crashes, (unsigned long long)seen.promotions,
           (unsigned long long)seen.handed, (unsigned long long)seen.replaced,
           (unsigned long long)seen.anews);
}
END_TEST

static const struct {
    enum bug bug;
    unsigned plan;
    uint64_t seeds;
} planted[] = {
    {SKIPPED_TRUNCATION, 1, 300},     {ACK_BEFORE_FLUSH, 1, 300}, {PROMISE_NOT_DURABLE, 1, 300},
    {PROMOTION_BY_CONFIRMED, 1, 300}, {CLAIM_UNHEARD, 3, 300},    {HAND_OVER_AT_ONCE, 1, 300},
};

START_TEST(a_hand_over_loses_nothing_and_ends_where_it_was_to)
{
    const unsigned which[] = {0, 1, 5, 7};

    for (size_t k = 0; k < sizeof(which) / sizeof(which[0]); k++) {
        simulation_begin(&plans[which[k]], false);
        for (uint64_t seed = 1; seed <= 50; seed++)
            ck_assert_msg(simulation_hand_over(seed), "plan %u, seed %llu: %s", which[k],
                          (unsigned long long)seed, simulation_seen().broken);
    }
}
END_TEST

START_TEST(a_planted_bug_is_found_within_300_seeds)
{
    struct plan plan = plans[planted[_i].plan];
    uint64_t seed = 1;

    plan.bug = planted[_i].bug;
    simulation_begin(&plan, false);
    while (seed <= planted[_i].seeds &&
           (plan.bug == HAND_OVER_AT_ONCE ? simulation_hand_over(seed) : simulation_live(seed)))
        seed++;
    printf("planted bug %d: seed %llu: %s\n", planted[_i].bug, (unsigned long long)seed,
           simulation_seen().broken);
    ck_assert_uint_le(seed, planted[_i].seeds);
}
END_TEST

static Suite *core_suite(void)
{
    Suite *s = suite_create("replication_core");
    TCase *t = tcase_create("simulation");

    tcase_add_test(t, a_hand_over_loses_nothing_and_ends_where_it_was_to);
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, no_schedule_loses_what_was_confirmed, 0,
                        (int)(sizeof(plans) / sizeof(plans[0])));
    tcase_add_loop_test(t, a_planted_bug_is_found_within_300_seeds, 0,
                        (int)(sizeof(planted) / sizeof(planted[0])));
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(core_suite)
