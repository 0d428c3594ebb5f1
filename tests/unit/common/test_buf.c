/* Claims about common/buf.h: what was added is there in order, whatever moves underneath. */
#include "common/buf.h"
#include "unit.h"

START_TEST(empty_buffer_has_no_bytes_and_is_destroyed_twice)
{
    struct buf b = {0};

    ck_assert_uint_eq(buf_bytes(&b).len, 0);
    ck_assert_ptr_null(buf_at(&b));
    buf_add(&b, NULL, 0);
    ck_assert(!b.failed);
    buf_destroy(&b);
    buf_destroy(&b);
}
END_TEST

START_TEST(integers_are_added_big_endian)
{
    struct buf b = {0};

    buf_add_u8(&b, 0x01);
    buf_add_be16(&b, 0x0203);
    buf_add_be32(&b, 0x04050607);
    buf_add_be64(&b, 0x08090A0B0C0D0E0F);
    ck_assert(bytes_equal(buf_bytes(&b), BYTES_LIT("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B"
                                                   "\x0C\x0D\x0E\x0F")));
    buf_destroy(&b);
}
END_TEST

START_TEST(numbers_are_added_as_text)
{
    struct buf b = {0};
    const int64_t values[] = {0, 7, -7, 10, 1700000000000, INT64_MAX, INT64_MIN};
    const char *const texts[] = {
        "0", "7", "-7", "10", "1700000000000", "9223372036854775807", "-9223372036854775808"};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        buf_reset(&b);
        buf_add_i64_text(&b, values[i]);
        ck_assert_msg(bytes_is(buf_bytes(&b), texts[i]), "%s", texts[i]);
    }
    buf_destroy(&b);
}
END_TEST

START_TEST(formatted_text_grows_the_buffer_and_counts_no_nul)
{
    struct buf b = {0};
    char wide[3000];

    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = 0;
    buf_addf(&b, "%s=%d\n", "key", 7);
    buf_addf(&b, "%s", wide);
    ck_assert_uint_eq(b.len, 6 + sizeof(wide) - 1);
    ck_assert(bytes_starts(buf_bytes(&b), BYTES_LIT("key=7\nwww")));
    buf_destroy(&b);
}
END_TEST

/* A queue of bytes 0,1,2 ... with the reader trailing the writer by changing distances. */
START_TEST(bytes_come_out_in_order_while_both_ends_move)
{
    struct buf b = {0};
    uint32_t written = 0, read = 0, random = 1, wrong = 0;

    for (int round = 0; round < 5000; round++) {
        random = random * 1664525 + 1013904223;
        for (uint32_t n = random >> 24; n; n--)
            buf_add_u8(&b, (uint8_t)written++);
        random = random * 1664525 + 1013904223;
        uint32_t take = random >> 24;
        if (take > b.len)
            take = (uint32_t)b.len;
        for (uint32_t i = 0; i < take; i++)
            wrong += buf_at(&b)[i] != (uint8_t)read++;
        buf_consume(&b, take);
        wrong += b.len != written - read || b.head + b.len > b.cap;
    }
    ck_assert_uint_eq(wrong, 0);
    buf_destroy(&b);
}
END_TEST

START_TEST(memory_stays_in_proportion_to_what_is_held)
{
    struct buf b = {0};
    uint8_t kilobyte[1024] = {0};

    for (int i = 0; i < 64; i++)
        buf_add(&b, kilobyte, sizeof(kilobyte));
    for (int i = 0; i < 10000; i++) {
        buf_add(&b, kilobyte, 100);
        buf_consume(&b, 100);
    }
    ck_assert_uint_eq(b.len, 64 * 1024);
    ck_assert_uint_le(b.cap, 4 * 64 * 1024);
    buf_destroy(&b);
}
END_TEST

START_TEST(reset_keeps_the_memory_and_clears_failure)
{
    struct buf b = {0};

    buf_add_str(&b, "abc");
    uint8_t *data = b.data;
    b.failed = true;
    buf_reset(&b);
    buf_add_str(&b, "d");
    ck_assert_ptr_eq(b.data, data);
    ck_assert(bytes_is(buf_bytes(&b), "d"));
    buf_destroy(&b);
}
END_TEST

START_TEST(a_size_that_cannot_be_had_fails_and_later_adds_do_nothing)
{
    struct buf b = {0};

    buf_add_str(&b, "abc");
    ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX - 1));
    ck_assert(b.failed);
    buf_add_str(&b, "def");
    buf_add_be32(&b, 1);
    buf_addf(&b, "%d", 1);
    buf_add_i64_text(&b, 1);
    ck_assert(bytes_is(buf_bytes(&b), "abc"));
    buf_destroy(&b);
}
END_TEST

static Suite *buf_suite(void)
{
    Suite *s = suite_create("buf");
    TCase *t = tcase_create("buf");

    tcase_add_test(t, empty_buffer_has_no_bytes_and_is_destroyed_twice);
    tcase_add_test(t, integers_are_added_big_endian);
    tcase_add_test(t, numbers_are_added_as_text);
    tcase_add_test(t, formatted_text_grows_the_buffer_and_counts_no_nul);
    tcase_add_test(t, bytes_come_out_in_order_while_both_ends_move);
    tcase_add_test(t, memory_stays_in_proportion_to_what_is_held);
    tcase_add_test(t, reset_keeps_the_memory_and_clears_failure);
    tcase_add_test(t, a_size_that_cannot_be_had_fails_and_later_adds_do_nothing);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(buf_suite)
