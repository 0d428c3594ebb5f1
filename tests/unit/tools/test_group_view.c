/* test_group_view.c - what answers of a group's members mean for a promotion. */
#include "tools/group_view.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct view view;
static struct buf out;

static void setup(void)
{
    view = (struct view){.cluster = "C", .broker = "b"};
    for (int i = 1; i <= 3; i++) {
        char address[16];

        snprintf(address, sizeof(address), "h:%d", i);
        view_know(&view, address)->id = i;
    }
    view.copies = view.promises_needed = 2;
}

static void teardown(void)
{
    buf_destroy(&out);
}

static struct view_member *answers(int64_t id, const char *role, uint64_t last_epoch, int64_t end)
{
    struct view_member *m = view_member(&view, id);

    m->answers = true;
    snprintf(m->role, sizeof(m->role), "%s", role);
    m->epoch = m->last_epoch = last_epoch;
    m->written = end;
    return m;
}

static const char *losses(const struct view_member *to)
{
    buf_reset(&out);
    view_losses(&view, to, &out);
    buf_add_u8(&out, 0);
    return (const char *)buf_at(&out);
}

static bool take(struct view_member *m, const char *text)
{
    json_t *status = json_loads(text, 0, NULL);
    bool taken = view_take(&view, m, status);

    json_decref(status);
    return taken;
}

START_TEST(a_member_tells_of_itself_and_of_members_that_nobody_knew)
{
    view = (struct view){.cluster = "C", .broker = "b"};
    struct view_member *m = view_know(&view, "h:1");

    ck_assert(take(m,
                   "{\"role\":\"master\",\"self\":1,\"master\":1,\"doubtful\":false,\"draining\":"
                   "true,\"promised\":65537,\"asked\":65537,\"epoch\":9007199254740993,"
                   "\"lastEpoch\":9007199254740993,\"written\":300,\"flushed\":200,"
                   "\"confirmed\":100,\"copies\":2,\"promisesNeeded\":2,\"alarm\":\"look\","
                   "\"members\":[{\"id\":1,\"address\":\"h:1\",\"self\":true},{\"id\":2,"
                   "\"address\":\"h:2\",\"connected\":true,\"following\":true,\"near\":true,"
                   "\"received\":250,\"promised\":true,\"promisedEpoch\":7,\"promisedEnd\":240}]"
                   "}"));
    ck_assert_int_eq(m->id, 1);
    ck_assert_str_eq(m->role, "master");
    ck_assert(m->draining && !m->doubtful);
    ck_assert_uint_eq(m->epoch, 9007199254740993u); /* no double has it */
    ck_assert_int_eq(m->confirmed, 100);
    ck_assert_str_eq(m->alarm, "look");
    ck_assert_uint_eq(view.count, 2);
    ck_assert_int_eq(view.members[1].id, 2);
    ck_assert_str_eq(view.members[1].address, "h:2");
    ck_assert_uint_eq(m->promise_count, 1);
    ck_assert(m->promises[0].promised);
    ck_assert_int_eq(m->promises[0].end, 240);
    ck_assert_int_eq(m->followers[0].received, 250);
}
END_TEST

START_TEST(other_json_is_no_status)
{
    struct view_member *m = view_member(&view, 1);

    ck_assert(!take(m, "{}"));
    ck_assert(!take(m, "{\"role\":1,\"members\":[]}"));
    ck_assert(!take(m, "{\"role\":\"master\",\"members\":{}}"));
    ck_assert(!take(m, "[]"));
}
END_TEST

START_TEST(a_broker_of_no_group_is_no_member_and_tells_what_it_knows_of_its_master)
{
    struct view_member *m = view_broker(&view, -1);

    ck_assert(take(m,
                   "{\"plain\":true,\"role\":\"slave\",\"brokerId\":1,\"fileId\":1,\"promoted\":0,"
                   "\"written\":90,\"flushed\":80,\"confirmed\":70,\"copies\":1,"
                   "\"follows\":{\"master\":\"m:1\",\"ha\":\"m:2\",\"state\":\"following\","
                   "\"masterEnd\":95,\"silentMs\":-1,\"metadataAgeMs\":3}}"));
    ck_assert(m->plain);
    ck_assert_int_eq(m->broker_id, 1);
    ck_assert_int_eq(m->written, 90);
    ck_assert_int_eq(m->flushed, 80);
    ck_assert_int_eq(m->confirmed, 70);
    ck_assert_str_eq(m->followed.master, "m:1");
    ck_assert_str_eq(m->followed.state, "following");
    ck_assert_int_eq(m->followed.end, 95);
    ck_assert_int_eq(m->followed.silent_ms, -1);
    ck_assert_ptr_eq(view_broker(&view, 1), m);
    ck_assert_ptr_null(view_broker(&view, 7));
}
END_TEST

static struct view_member *plain(int64_t id, const char *role, int64_t end)
{
    struct view_member *m = view_member(&view, id);

    m->plain = m->alive = true;
    snprintf(m->role, sizeof(m->role), "%s", role);
    m->written = end;
    return m;
}

START_TEST(brokers_of_no_group_are_judged_only_where_nobody_is_in_one)
{
    ck_assert(!view_is_plain(&view));
    plain(1, "slave", 100);
    ck_assert(view_is_plain(&view));
    ck_assert_ptr_null(view_plain_master(&view));
    plain(2, "slave", 101);
    ck_assert_int_eq(view_plain_best(&view)->id, 2);
    plain(3, "master", 200);
    ck_assert_int_eq(view_plain_best(&view)->id, 2);
    ck_assert_int_eq(view_plain_master(&view)->id, 3);
    /* Such a slave of a group's master is not counted among its members. */
    view_member(&view, 3)->plain = false;
    answers(3, "master", 5, 200);
    ck_assert(!view_is_plain(&view));
    ck_assert_int_eq(view_promises(&view, true), 1);
    ck_assert_int_eq(view_best(&view, true)->id, 3);
}
END_TEST

START_TEST(a_broker_of_another_name_is_no_member_whatever_its_id)
{
    struct view_member *m = view_know(&view, "other:1");

    m->alive = true;
    ck_assert(!take(m, "{\"cluster\":\"C\",\"broker\":\"x\",\"role\":\"master\",\"self\":1,"
                       "\"members\":[]}"));
    ck_assert(m->foreign && view_is_outsider(m));
    ck_assert_str_eq(m->why, "it is broker x of cluster C");
    ck_assert(!take(m, "{\"cluster\":\"D\",\"broker\":\"b\",\"plain\":true,\"role\":\"slave\"}"));
    ck_assert(m->foreign && !m->plain);
    ck_assert(take(m, "{\"cluster\":\"C\",\"broker\":\"b\",\"role\":\"master\",\"self\":1,"
                      "\"members\":[]}"));
    ck_assert(!m->foreign);
}
END_TEST

/* One may be asked seconds after the other. */
START_TEST(the_lag_of_a_follower_is_what_the_leader_says)
{
    answers(1, "master", 5, 900);
    view_member(&view, 1)->followers[0] = (struct view_follower){2, true, true, true, 880};
    view_member(&view, 1)->followers[1] = (struct view_follower){3, true, false, false, 10};
    view_member(&view, 1)->follower_count = 2;
    answers(2, "following", 5, 70000)->master = 1;
    ck_assert_int_eq(view_lag(&view, view_member(&view, 2)), 20);
    ck_assert_int_eq(view_lag(&view, answers(3, "looking", 5, 910)), -10);
    ck_assert_int_eq(view_lag(&view, view_member(&view, 1)), 0);
}
END_TEST

START_TEST(no_answer_makes_more_members_than_there_is_room_for)
{
    struct buf text = {0};

    buf_add_str(&text, "{\"role\":\"master\",\"self\":1,\"members\":[");
    for (int i = 0; i < 100; i++)
        buf_addf(&text, "%s{\"id\":%d,\"address\":\"x:%d\"}", i ? "," : "", i + 10, i);
    buf_add_str(&text, "]}");
    buf_add_u8(&text, 0);
    ck_assert(take(view_member(&view, 1), (const char *)buf_at(&text)));
    ck_assert_uint_eq(view.count, VIEW_MEMBERS_MAX);
    ck_assert_uint_eq(view_member(&view, 1)->promise_count, VIEW_MEMBERS_MAX);
    buf_destroy(&text);
}
END_TEST

START_TEST(two_addresses_of_one_member_are_one_and_the_one_that_answers_stays)
{
    struct view_member *other = view_know(&view, "elsewhere:2");

    other->id = 2;
    other->answers = true;
    view_join(&view);
    ck_assert_uint_eq(view.count, 3);
    ck_assert_str_eq(view_member(&view, 2)->address, "elsewhere:2");
    ck_assert_ptr_nonnull(view_member(&view, 3));
}
END_TEST

START_TEST(of_two_masters_the_one_with_the_higher_epoch_leads)
{
    ck_assert_ptr_null(view_leader(&view));
    answers(1, "master", 5, 900);
    answers(2, "master", 6, 100);
    answers(3, "following", 7, 100);
    ck_assert_int_eq(view_leader(&view)->id, 2);
    view_member(&view, 2)->answers = false; /* what it said before does not count */
    ck_assert_int_eq(view_leader(&view)->id, 1);
}
END_TEST

START_TEST(the_last_epoch_counts_before_the_end_of_the_log)
{
    answers(1, "looking", 5, 900);
    answers(2, "looking", 6, 100);
    answers(3, "looking", 6, 101);
    ck_assert_int_eq(view_best(&view, false)->id, 3);
    ck_assert_uint_eq(view_promises(&view, false), 3);
}
END_TEST

START_TEST(a_member_that_doubts_its_log_is_no_promise_unless_unclean)
{
    answers(1, "looking", 5, 100);
    answers(2, "looking", 6, 100)->doubtful = true;
    ck_assert_int_eq(view_best(&view, false)->id, 1);
    ck_assert_uint_eq(view_promises(&view, false), 1);
    ck_assert_int_eq(view_best(&view, true)->id, 2);
    ck_assert_uint_eq(view_promises(&view, true), 2);
}
END_TEST

START_TEST(what_may_be_lost_is_with_those_that_do_not_answer_or_doubt)
{
    struct view_member *one = answers(1, "looking", 5, 100);

    answers(2, "looking", 5, 90);
    ck_assert_ptr_nonnull(strstr(losses(one), "member 3 at h:3 does not answer"));
    ck_assert_ptr_null(strstr(losses(one), "member 2"));
    answers(3, "looking", 5, 80);
    ck_assert_str_eq(losses(one), "");
    view_member(&view, 2)->doubtful = true; /* a new disk: nobody else may have what it had */
    ck_assert_ptr_nonnull(strstr(losses(one), "member 2 may have lost some or all of its log"));
    view_member(&view, 2)->doubtful = false;
    one->doubtful = true;
    ck_assert_ptr_nonnull(strstr(losses(one), "member 1 does not know whether its log is whole"));
}
END_TEST

START_TEST(a_slave_of_no_group_beside_one_has_nothing_that_counts)
{
    struct view_member *one = answers(1, "looking", 5, 100), *other;

    answers(2, "looking", 5, 90);
    answers(3, "looking", 5, 80);
    other = view_know(&view, "h:9");
    ck_assert(take(other, "{\"plain\":true,\"role\":\"slave\",\"written\":200}"));
    other->alive = true;
    ck_assert(view_is_outsider(other));
    ck_assert_str_eq(losses(one), "");
    ck_assert_uint_eq(view_promises(&view, true), 3);
    ck_assert_ptr_eq(view_best(&view, true), one);
    ck_assert(!view_is_outsider(one));
    one->answers = false; /* others name it: it was a member, whatever it is now */
    one->alive = true;
    ck_assert(!view_is_outsider(one));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("group_view");
    TCase *c = tcase_create("view");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_broker_of_another_name_is_no_member_whatever_its_id);
    tcase_add_test(c, the_lag_of_a_follower_is_what_the_leader_says);
    tcase_add_test(c, a_member_tells_of_itself_and_of_members_that_nobody_knew);
    tcase_add_test(c, other_json_is_no_status);
    tcase_add_test(c, a_broker_of_no_group_is_no_member_and_tells_what_it_knows_of_its_master);
    tcase_add_test(c, brokers_of_no_group_are_judged_only_where_nobody_is_in_one);
    tcase_add_test(c, no_answer_makes_more_members_than_there_is_room_for);
    tcase_add_test(c, two_addresses_of_one_member_are_one_and_the_one_that_answers_stays);
    tcase_add_test(c, of_two_masters_the_one_with_the_higher_epoch_leads);
    tcase_add_test(c, the_last_epoch_counts_before_the_end_of_the_log);
    tcase_add_test(c, a_member_that_doubts_its_log_is_no_promise_unless_unclean);
    tcase_add_test(c, what_may_be_lost_is_with_those_that_do_not_answer_or_doubt);
    tcase_add_test(c, a_slave_of_no_group_beside_one_has_nothing_that_counts);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
