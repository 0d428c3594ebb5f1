/* test_ha_frames.c - what a master sends to a slave, however the network cuts it. */
#include "broker/replication/ha_frames.h"

#include "unit.h"

static struct ha_frames frames;
static struct ha_piece piece;
static uint8_t wire[4096];
static size_t wire_len;

static void start(uint64_t next)
{
    ha_frames_init(&frames, next, HA_FRAME_MAX);
    wire_len = 0;
}

static void put_header(uint64_t offset, int32_t size)
{
    store_be64(wire + wire_len, offset);
    store_be32(wire + wire_len + 8, (uint32_t)size);
    wire_len += HA_HEADER_BYTES;
}

static void put_frame(uint64_t offset, const char *body)
{
    put_header(offset, (int32_t)strlen(body));
    memcpy(wire + wire_len, body, strlen(body));
    wire_len += strlen(body);
}

static enum ha_piece_kind next(struct bytes *in)
{
    return ha_frames_next(&frames, in, &piece);
}

static enum ha_piece_kind first(void)
{
    struct bytes in = bytes_of(wire, wire_len);

    return next(&in);
}

START_TEST(bodies_come_out_in_order_with_their_offsets)
{
    start(100);
    put_frame(100, "abc");
    put_frame(103, "");
    put_frame(103, "defg");
    struct bytes in = bytes_of(wire, wire_len);

    ck_assert_int_eq(next(&in), HA_FRAME);
    ck_assert_uint_eq(piece.offset, 100);
    ck_assert_int_eq(piece.size, 3);
    ck_assert_int_eq(next(&in), HA_BODY);
    ck_assert(bytes_is(piece.bytes, "abc"));
    ck_assert_int_eq(next(&in), HA_FRAME);
    ck_assert_int_eq(piece.size, 0);
    ck_assert_int_eq(next(&in), HA_FRAME);
    ck_assert_int_eq(next(&in), HA_BODY);
    ck_assert_uint_eq(piece.offset, 103);
    ck_assert(bytes_is(piece.bytes, "defg"));
    ck_assert_int_eq(next(&in), HA_MORE);
    ck_assert_uint_eq(frames.next, 107);
}
END_TEST

/* A header in twelve pieces, a body in any. */
START_TEST(every_cut_gives_the_same)
{
    char got[64];

    for (size_t step = 1; step < 40; step++) {
        size_t len = 0;

        start(7);
        put_frame(7, "hello");
        put_frame(12, "");
        put_frame(12, ", slave");
        for (size_t at = 0; at < wire_len; at += step) {
            struct bytes in = bytes_of(wire + at, wire_len - at < step ? wire_len - at : step);
            enum ha_piece_kind kind;

            while ((kind = next(&in)) != HA_MORE) {
                ck_assert(kind == HA_FRAME || kind == HA_BODY);
                if (kind == HA_BODY) {
                    ck_assert_uint_eq(piece.offset, 7 + len);
                    memcpy(got + len, piece.bytes.at, piece.bytes.len);
                    len += piece.bytes.len;
                }
            }
            ck_assert_uint_eq(in.len, 0);
        }
        ck_assert_uint_eq(len, 12);
        ck_assert(memcmp(got, "hello, slave", 12) == 0);
    }
}
END_TEST

START_TEST(another_offset_is_wrong_in_heartbeats_too)
{
    const uint64_t wrong[] = {99, 101, 0, UINT64_MAX, (uint64_t)INT64_MAX + 1};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        start(100);
        put_frame(wrong[i], "x");
        ck_assert_int_eq(first(), HA_WRONG_OFFSET);
        ck_assert_uint_eq(piece.offset, wrong[i]);
        start(100);
        put_header(wrong[i], 0);
        ck_assert_int_eq(first(), HA_WRONG_OFFSET);
    }
}
END_TEST

START_TEST(the_offset_is_wrong_before_the_body_is_there)
{
    start(100);
    put_header(99, 1000);
    ck_assert_int_eq(first(), HA_WRONG_OFFSET);
}
END_TEST

START_TEST(negative_and_absurd_sizes_are_wrong)
{
    const int32_t wrong[] = {-1, INT32_MIN, HA_FRAME_MAX + 1, INT32_MAX};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        start(100);
        put_header(100, wrong[i]);
        ck_assert_int_eq(first(), HA_WRONG_SIZE);
        ck_assert_int_eq(piece.size, wrong[i]);
    }
    start(100);
    put_header(100, HA_FRAME_MAX);
    ck_assert_int_eq(first(), HA_FRAME);
    start(HA_ANY_OFFSET);
    put_header(INT64_MAX, 1);
    ck_assert_int_eq(first(), HA_WRONG_SIZE);
}
END_TEST

START_TEST(who_has_nothing_takes_any_first_offset)
{
    start(HA_ANY_OFFSET);
    put_header(4096, 0);
    put_frame(8192, "ab");
    put_frame(8195, "c");
    struct bytes in = bytes_of(wire, wire_len);

    ck_assert_int_eq(next(&in), HA_FRAME); /* a heartbeat decides nothing */
    ck_assert_uint_eq(piece.offset, 4096);
    ck_assert_uint_eq(frames.next, HA_ANY_OFFSET);
    ck_assert_int_eq(next(&in), HA_FRAME);
    ck_assert_uint_eq(piece.offset, 8192);
    ck_assert_int_eq(next(&in), HA_BODY);
    ck_assert_int_eq(next(&in), HA_WRONG_OFFSET);
}
END_TEST

static Suite *ha_frames_suite(void)
{
    Suite *suite = suite_create("ha_frames");
    TCase *c = tcase_create("frames");

    tcase_add_test(c, bodies_come_out_in_order_with_their_offsets);
    tcase_add_test(c, every_cut_gives_the_same);
    tcase_add_test(c, another_offset_is_wrong_in_heartbeats_too);
    tcase_add_test(c, the_offset_is_wrong_before_the_body_is_there);
    tcase_add_test(c, negative_and_absurd_sizes_are_wrong);
    tcase_add_test(c, who_has_nothing_takes_any_first_offset);
    suite_add_tcase(suite, c);
    return suite;
}

UNIT_MAIN(ha_frames_suite)
