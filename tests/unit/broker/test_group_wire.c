/* test_group_wire.c - frames between the members of a group: what goes in comes out, and nothing
 * that is out of its bounds does. */
#include "broker/replication/group_wire.h"

#include <errno.h>

#include "unit.h"

enum { TYPE = 5, FLAGS, FROM, EPOCHS = 9, NUMBERS, EPOCH_TABLE = NUMBERS + 13 * 8 };
/* Places of the numbers, in the order of docs/protocol/replication.md. */
enum {
    TERM,
    ASKED,
    EPOCH,
    END,
    LAST_EPOCH,
    CONFIRMED,
    RECEIVED,
    FLUSHED,
    OFFSET,
    SIZE,
    DATA_EPOCH,
    DATA_START,
    FIRST
};

static struct buf wire;
static struct group_frame frame;
static size_t used;
static const char *why;

static void setup(void)
{
    buf_reset(&wire);
    why = NULL;
}

static void teardown(void)
{
    buf_destroy(&wire);
}

static int take_first(size_t len)
{
    /* A copy of just that size, so that a read behind it is one that a sanitizer sees. */
    uint8_t *copy = malloc(len ? len : 1);
    int r;

    ck_assert_ptr_nonnull(copy);
    if (len)
        memcpy(copy, buf_at(&wire), len);
    r = group_wire_take(bytes_of(copy, len), &frame, &used, &why);
    free(copy);
    return r;
}

static int take(void)
{
    return group_wire_take(buf_bytes(&wire), &frame, &used, &why);
}

static void expect_bad(const char *text)
{
    ck_assert_int_eq(take(), -EBADMSG);
    ck_assert_str_eq(why, text);
}

/* Each field another value. */
static struct core_message message_of(enum core_message_type type)
{
    struct core_message m = {.type = type,
                             .from = 0xfffe,
                             .term = 7 << 16 | 3,
                             .asked = 8 << 16 | 2,
                             .granted = type % 2,
                             .again = type % 3 == 0,
                             .unclean = type % 3 == 1,
                             .first = 11,
                             .epoch = INT64_MAX - 1,
                             .end = INT64_MAX,
                             .last_epoch = INT64_MAX,
                             .confirmed = 12,
                             .received = 13,
                             .flushed = 14,
                             .offset = 15,
                             .data_epoch = 16,
                             .data_start = 15,
                             .epoch_count = 2,
                             .epochs = {{5, 0}, {6, 1000}}};

    return m;
}

static void put(const struct core_message *m, const char *log)
{
    group_wire_put_core(&wire, m);
    buf_add_str(&wire, log);
}

static void put_number(unsigned place, uint64_t value)
{
    store_be64(buf_at(&wire) + NUMBERS + place * 8, value);
}

static void expect_same(const struct core_message *a, const struct core_message *b)
{
    ck_assert_int_eq(a->type, b->type);
    ck_assert_uint_eq(a->from, b->from);
    ck_assert_uint_eq(a->term, b->term);
    ck_assert_uint_eq(a->asked, b->asked);
    ck_assert_int_eq(a->granted, b->granted);
    ck_assert_int_eq(a->again, b->again);
    ck_assert_int_eq(a->unclean, b->unclean);
    ck_assert_uint_eq(a->first, b->first);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_uint_eq(a->end, b->end);
    ck_assert_uint_eq(a->last_epoch, b->last_epoch);
    ck_assert_uint_eq(a->confirmed, b->confirmed);
    ck_assert_uint_eq(a->received, b->received);
    ck_assert_uint_eq(a->flushed, b->flushed);
    ck_assert_uint_eq(a->offset, b->offset);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->data_epoch, b->data_epoch);
    ck_assert_uint_eq(a->data_start, b->data_start);
    ck_assert_uint_eq(a->epoch_count, b->epoch_count);
    for (unsigned i = 0; i < a->epoch_count; i++) {
        ck_assert_uint_eq(a->epochs[i].epoch, b->epochs[i].epoch);
        ck_assert_uint_eq(a->epochs[i].start, b->epochs[i].start);
    }
}

START_TEST(every_message_comes_out_as_it_went_in)
{
    for (int type = CORE_FOLLOW; type <= CORE_TAKE_OVER; type++) {
        struct core_message m = message_of(type);

        setup();
        put(&m, "");
        ck_assert_int_eq(take(), 0);
        ck_assert_uint_eq(used, wire.len);
        ck_assert_int_eq(frame.type, GROUP_CORE);
        expect_same(&frame.message, &m);
        ck_assert_uint_eq(frame.log.len, 0);
    }
}
END_TEST

START_TEST(the_largest_epoch_table_comes_out_whole)
{
    struct core_message m = message_of(CORE_WELCOME);

    m.epoch_count = CORE_EPOCHS_MAX;
    for (unsigned i = 0; i < CORE_EPOCHS_MAX; i++)
        m.epochs[i] = (struct core_epoch){i + 1, i / 2};
    put(&m, "");
    ck_assert_int_eq(take(), 0);
    expect_same(&frame.message, &m);
}
END_TEST

START_TEST(log_bytes_are_the_last_of_their_frame)
{
    struct core_message m = message_of(CORE_DATA);

    m.size = 5;
    m.epoch_count = 0;
    put(&m, "bytes");
    group_wire_put_meta_ack(&wire, 1);
    ck_assert_int_eq(take(), 0);
    expect_same(&frame.message, &m);
    ck_assert(bytes_is(frame.log, "bytes"));
    ck_assert_ptr_eq(frame.log.at + frame.log.len, buf_at(&wire) + used);
    buf_consume(&wire, used);
    ck_assert_int_eq(take(), 0);
    ck_assert_int_eq(frame.type, GROUP_META_ACK);
}
END_TEST

START_TEST(the_largest_piece_of_the_log_fits_into_a_frame)
{
    struct core_message m = message_of(CORE_DATA);

    m.size = CORE_FRAME_MAX;
    m.offset = m.data_start = (uint64_t)INT64_MAX - CORE_FRAME_MAX;
    put(&m, "");
    ck_assert_ptr_nonnull(buf_reserve(&wire, CORE_FRAME_MAX));
    wire.len += CORE_FRAME_MAX;
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(frame.log.len, CORE_FRAME_MAX);
    put_number(OFFSET, m.offset + 1);
    expect_bad("a message with a size out of range");
}
END_TEST

START_TEST(metadata_comes_out_as_it_went_in)
{
    static const uint8_t records[GROUP_META_MAX];

    group_wire_put_meta(&wire, true, 0, bytes_of(records, sizeof(records)));
    group_wire_put_meta(&wire, false, UINT64_MAX, BYTES_LIT("records"));
    group_wire_put_meta(&wire, false, 7, BYTES_LIT(""));
    group_wire_put_meta_ack(&wire, 42);
    ck_assert_int_eq(take(), 0);
    ck_assert_int_eq(frame.type, GROUP_META);
    ck_assert(frame.begins);
    ck_assert_uint_eq(frame.upto, 0);
    ck_assert_uint_eq(frame.records.len, sizeof(records));
    buf_consume(&wire, used);
    ck_assert_int_eq(take(), 0);
    ck_assert(!frame.begins);
    ck_assert_uint_eq(frame.upto, UINT64_MAX);
    ck_assert(bytes_is(frame.records, "records"));
    buf_consume(&wire, used);
    ck_assert_int_eq(take(), 0);
    ck_assert_uint_eq(frame.records.len, 0);
    buf_consume(&wire, used);
    ck_assert_int_eq(take(), 0);
    ck_assert_int_eq(frame.type, GROUP_META_ACK);
    ck_assert_uint_eq(frame.upto, 42);
    buf_consume(&wire, used);
    ck_assert_int_eq(take(), GROUP_WIRE_MORE);
}
END_TEST

static void expect_more_until_whole(void)
{
    size_t whole = wire.len;

    for (size_t len = 0; len < whole; len++) {
        ck_assert_int_eq(take_first(len), GROUP_WIRE_MORE);
        ck_assert_uint_eq(used, len < 4 ? 0 : whole);
    }
    ck_assert_int_eq(take_first(whole), 0);
    ck_assert_uint_eq(used, whole);
    setup();
}

START_TEST(a_part_of_a_frame_waits_for_the_rest)
{
    struct core_message m = message_of(CORE_DATA);

    m.size = 7;
    put(&m, "a piece");
    expect_more_until_whole();
    group_wire_put_meta(&wire, true, 9, BYTES_LIT("records"));
    expect_more_until_whole();
    group_wire_put_meta_ack(&wire, 9);
    expect_more_until_whole();
}
END_TEST

/* The frame says a shorter, then a longer length, and has that. */
static void expect_one_length(size_t least)
{
    size_t whole = wire.len;

    for (size_t len = 5; len < whole; len++) {
        store_be32(buf_at(&wire), (uint32_t)(len - 4));
        ck_assert_int_eq(take_first(len), len >= least ? 0 : -EBADMSG);
    }
    buf_add_u8(&wire, 0);
    store_be32(buf_at(&wire), (uint32_t)(whole - 3));
    ck_assert_int_eq(take_first(whole + 1), least < whole ? 0 : -EBADMSG);
    setup();
}

START_TEST(no_length_but_the_right_one_is_taken)
{
    struct core_message m = message_of(CORE_DATA);

    m.size = 7;
    put(&m, "a piece");
    expect_one_length(SIZE_MAX);
    m = message_of(CORE_FOLLOW);
    put(&m, "");
    expect_one_length(SIZE_MAX);
    group_wire_put_meta_ack(&wire, 9);
    expect_one_length(SIZE_MAX);
    /* What the records are is for the metadata to say. */
    group_wire_put_meta(&wire, true, 9, BYTES_LIT("records"));
    expect_one_length(14);
}
END_TEST

START_TEST(lengths_and_types_of_frames_have_bounds)
{
    static const uint8_t too_many[GROUP_META_MAX + 1];

    group_wire_put_meta_ack(&wire, 9);
    store_be32(buf_at(&wire), 0);
    expect_bad("a frame of a size out of range");
    store_be32(buf_at(&wire), UINT32_MAX);
    expect_bad("a frame of a size out of range");
    store_be32(buf_at(&wire), GROUP_FRAME_MAX - 3);
    expect_bad("a frame of a size out of range");
    store_be32(buf_at(&wire), GROUP_FRAME_MAX - 4);
    ck_assert_int_eq(take(), GROUP_WIRE_MORE);
    ck_assert_uint_eq(used, GROUP_FRAME_MAX);
    for (unsigned type = 0; type < 256; type += type ? 252 : 4) {
        setup();
        group_wire_put_meta_ack(&wire, 9);
        buf_at(&wire)[4] = (uint8_t)type;
        expect_bad("a frame of an unknown type");
    }
    setup();
    group_wire_put_meta(&wire, false, 9, bytes_of(too_many, sizeof(too_many)));
    expect_bad("metadata of a size out of range");
    setup();
    group_wire_put_meta(&wire, false, 9, BYTES_LIT("x"));
    buf_at(&wire)[5] = 2;
    expect_bad("metadata with unknown flags");
}
END_TEST

START_TEST(fields_of_one_byte_have_bounds)
{
    static const struct {
        unsigned at;
        uint8_t value;
        const char *why;
    } cases[] = {
        {TYPE, CORE_TAKE_OVER + 1, "a message of an unknown type"},
        {TYPE, 255, "a message of an unknown type"},
        {FLAGS, 8, "a message with unknown flags"},
        {FLAGS, 128, "a message with unknown flags"},
        {EPOCHS, CORE_EPOCHS_MAX + 1, "a message with too many epochs"},
        {EPOCHS, 3, "a message is too short for its epochs"},
        {EPOCHS, 1, "a message whose length is not that of its parts"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct core_message m = message_of(CORE_FOLLOW);

        setup();
        put(&m, "");
        buf_at(&wire)[cases[i].at] = cases[i].value;
        expect_bad(cases[i].why);
    }
    struct core_message m = message_of(CORE_FOLLOW);

    setup();
    m.from = 0;
    put(&m, "");
    expect_bad("a message from nobody");
}
END_TEST

START_TEST(numbers_have_bounds)
{
    static const uint64_t beyond = (uint64_t)INT64_MAX + 1, term = (uint64_t)1 << 43;
    static const struct {
        unsigned place;
        uint64_t value;
        const char *why;
    } cases[] = {
        {TERM, term, "a message with a term that no epoch can have"},
        {ASKED, term, "a message with a term that no epoch can have"},
        {EPOCH, beyond, "a message with an epoch out of range"},
        {LAST_EPOCH, beyond, "a message with an epoch out of range"},
        {DATA_EPOCH, beyond, "a message with an epoch out of range"},
        {END, beyond, "a message with an offset out of range"},
        {CONFIRMED, beyond, "a message with an offset out of range"},
        {RECEIVED, beyond, "a message with an offset out of range"},
        {FLUSHED, beyond, "a message with an offset out of range"},
        {OFFSET, beyond, "a message with an offset out of range"},
        {DATA_START, beyond, "a message with an offset out of range"},
        {FIRST, beyond, "a message with an offset out of range"},
        {SIZE, CORE_FRAME_MAX + 1, "a message with a size out of range"},
        {SIZE, UINT64_MAX, "a message with a size out of range"},
        {SIZE, 6, "a message whose length is not that of its parts"},
        {SIZE, 4, "a message whose length is not that of its parts"},
        {DATA_START, 16, "log bytes from before their epoch"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct core_message m = message_of(CORE_DATA);

        setup();
        m.size = 5;
        put(&m, "bytes");
        put_number(cases[i].place, cases[i].value);
        expect_bad(cases[i].why);
    }
}
END_TEST

START_TEST(only_data_has_log_bytes)
{
    for (int type = CORE_FOLLOW; type <= CORE_TAKE_OVER; type++) {
        struct core_message m = message_of(CORE_DATA);

        setup();
        m.size = 5;
        put(&m, "bytes");
        buf_at(&wire)[TYPE] = (uint8_t)type;
        if (type != CORE_DATA)
            expect_bad("a message with a size out of range");
        else
            ck_assert_int_eq(take(), 0);
    }
}
END_TEST

START_TEST(epochs_rise_and_begin_within_the_log)
{
    static const struct {
        struct core_epoch first, second;
        const char *why;
    } cases[] = {
        {{5, 0}, {6, 0}, NULL},
        {{5, 1000}, {6, 2000}, NULL},
        {{5, 0}, {5, 1000}, "epochs do not rise"},
        {{5, 0}, {4, 1000}, "epochs do not rise"},
        {{5, 1000}, {6, 999}, "epochs do not rise"},
        {{5, 0}, {6, 2001}, "an epoch begins behind the end of the log"},
        {{5, 0}, {1ull << 63, 1000}, "a message with an epoch out of range"},
        {{5, UINT64_MAX}, {6, UINT64_MAX}, "an epoch begins behind the end of the log"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct core_message m = message_of(CORE_FOLLOW);

        setup();
        m.end = 2000;
        m.epochs[0] = cases[i].first;
        m.epochs[1] = cases[i].second;
        put(&m, "");
        if (cases[i].why)
            expect_bad(cases[i].why);
        else
            ck_assert_int_eq(take(), 0);
    }
}
END_TEST

/* As docs/protocol/replication.md has it: members of two versions must understand each other. */
START_TEST(layout_is_the_documented_one)
{
    static const uint64_t numbers[] = {
        7 << 16 | 3, 8 << 16 | 2, INT64_MAX - 1, INT64_MAX, INT64_MAX, 12, 13, 14, 15, 0, 16,
        15,          11};
    struct core_message m = message_of(CORE_PROMISE);
    const uint8_t *at;

    put(&m, "");
    at = buf_at(&wire);
    ck_assert_uint_eq(wire.len, EPOCH_TABLE + 2 * 16);
    ck_assert_uint_eq(load_be32(at), wire.len - 4);
    ck_assert_uint_eq(at[4], 1);
    ck_assert_uint_eq(at[TYPE], 3);
    ck_assert_uint_eq(at[FLAGS], 1 | 2);
    ck_assert_uint_eq(load_be16(at + FROM), 0xfffe);
    ck_assert_uint_eq(at[EPOCHS], 2);
    for (unsigned i = 0; i < 13; i++)
        ck_assert_uint_eq(load_be64(at + NUMBERS + i * 8), numbers[i]);
    ck_assert_uint_eq(load_be64(at + EPOCH_TABLE + 16), 6);
    ck_assert_uint_eq(load_be64(at + EPOCH_TABLE + 24), 1000);
}
END_TEST

static Suite *group_wire_suite(void)
{
    Suite *s = suite_create("group_wire");
    TCase *tc = tcase_create("frames");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_message_comes_out_as_it_went_in);
    tcase_add_test(tc, the_largest_epoch_table_comes_out_whole);
    tcase_add_test(tc, log_bytes_are_the_last_of_their_frame);
    tcase_add_test(tc, the_largest_piece_of_the_log_fits_into_a_frame);
    tcase_add_test(tc, metadata_comes_out_as_it_went_in);
    tcase_add_test(tc, a_part_of_a_frame_waits_for_the_rest);
    tcase_add_test(tc, no_length_but_the_right_one_is_taken);
    tcase_add_test(tc, lengths_and_types_of_frames_have_bounds);
    tcase_add_test(tc, fields_of_one_byte_have_bounds);
    tcase_add_test(tc, numbers_have_bounds);
    tcase_add_test(tc, only_data_has_log_bytes);
    tcase_add_test(tc, epochs_rise_and_begin_within_the_log);
    tcase_add_test(tc, layout_is_the_documented_one);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(group_wire_suite)
