/* Claims about common/crc.h: the sums are zlib's, bit for bit. */
#include "common/crc.h"
#include "unit.h"

START_TEST(check_value_of_the_polynomial)
{
    ck_assert_uint_eq(crc32_of(0, BYTES_LIT("123456789")), 0xCBF43926u);
}
END_TEST

START_TEST(sum_of_nothing_is_the_start_value)
{
    ck_assert_uint_eq(crc32_of(0, bytes_of(NULL, 0)), 0);
    ck_assert_uint_eq(crc32_of(0x12345678u, bytes_of(NULL, 0)), 0x12345678u);
}
END_TEST

START_TEST(sum_chains_over_pieces)
{
    uint8_t data[1000];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 3);
    uint32_t whole = crc32_of(0, bytes_of(data, sizeof(data)));
    for (size_t cut = 0; cut <= sizeof(data); cut += 37) {
        uint32_t first = crc32_of(0, bytes_of(data, cut));
        ck_assert_uint_eq(crc32_of(first, bytes_of(data + cut, sizeof(data) - cut)), whole);
    }
}
END_TEST

START_TEST(stored_sum_has_31_bits)
{
    ck_assert_uint_eq(crc31_of(BYTES_LIT("123456789")), 0x4BF43926u);
}
END_TEST

static Suite *crc_suite(void)
{
    Suite *s = suite_create("crc");
    TCase *t = tcase_create("crc");

    tcase_add_test(t, check_value_of_the_polynomial);
    tcase_add_test(t, sum_of_nothing_is_the_start_value);
    tcase_add_test(t, sum_chains_over_pieces);
    tcase_add_test(t, stored_sum_has_31_bits);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(crc_suite)
