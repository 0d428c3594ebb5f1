/* The body of a batch send. */
#include "broker/batch.h"
#include "common/buf.h"
#include "unit.h"

static void add(struct buf *b, const char *body, const char *properties, int32_t lie)
{
    buf_add_be32(b, (uint32_t)((int32_t)(22 + strlen(body) + strlen(properties)) + lie));
    buf_add_be32(b, 0);
    buf_add_be32(b, 0);
    buf_add_be32(b, 7);
    buf_add_be32(b, (uint32_t)strlen(body));
    buf_add_str(b, body);
    buf_add_be16(b, (uint16_t)strlen(properties));
    buf_add_str(b, properties);
}

START_TEST(messages_come_one_by_one_until_the_end)
{
    struct buf b = {0};
    struct batch_message m;
    struct reader in;

    add(&b, "one",
        "TAGS\x01"
        "A",
        0);
    add(&b, "", "", 0);
    in = reader_of(buf_bytes(&b));
    ck_assert_int_eq(batch_next(&in, &m), 0);
    ck_assert(bytes_is(m.body, "one"));
    ck_assert(bytes_is(m.properties, "TAGS\x01"
                                     "A"));
    ck_assert_int_eq(m.flag, 7);
    ck_assert_int_eq(batch_next(&in, &m), 0);
    ck_assert_uint_eq(m.body.len, 0);
    ck_assert_int_eq(batch_next(&in, &m), BATCH_END);
    buf_destroy(&b);
}
END_TEST

START_TEST(a_length_that_lies_is_bad_and_stays_bad)
{
    for (int32_t lie = -3; lie <= 3; lie++) {
        struct buf b = {0};
        struct batch_message m;
        struct reader in;

        add(&b, "body", "p", lie);
        in = reader_of(buf_bytes(&b));
        ck_assert_int_eq(batch_next(&in, &m), lie == 0 ? 0 : BATCH_BAD);
        ck_assert_int_eq(batch_next(&in, &m), lie == 0 ? BATCH_END : BATCH_BAD);
        buf_destroy(&b);
    }
}
END_TEST

START_TEST(every_truncation_is_bad)
{
    struct buf b = {0};

    add(&b, "body", "K\x01V", 0);
    for (size_t len = 1; len < b.len; len++) {
        struct reader in = reader_of(bytes_of(buf_at(&b), len));
        struct batch_message m;

        ck_assert_int_eq(batch_next(&in, &m), BATCH_BAD);
    }
    buf_destroy(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/batch");
    TCase *t = tcase_create("batch");

    tcase_add_test(t, messages_come_one_by_one_until_the_end);
    tcase_add_test(t, a_length_that_lies_is_bad_and_stays_bad);
    tcase_add_test(t, every_truncation_is_bad);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
