/* The ready-made reply to a send, against the general writer. */
#include <inttypes.h>

#include "broker/send_reply.h"
#include "common/remoting.h"
#include "unit.h"

struct sample {
    int32_t opaque, queue_id;
    uint64_t log_offset;
    int64_t queue_offset;
    bool v6;
};
static const struct sample samples[] = {
    {7, 0, 0, 0, false},
    {-2147483647 - 1, 65535, UINT64_C(0x7FFFFFFFFFFFFFFF), INT64_C(9223372036854775807), false},
    {2147483647, 3, 123456789, 42, true},
};

START_TEST(it_has_the_fields_of_the_general_writer)
{
    const struct sample *x = &samples[_i];
    struct record_host host = {.ip = {127, 0, 0, 1}, .v6 = x->v6, .port = 10911};
    struct remoting_meta meta = {.opaque = x->opaque,
                                 .flag = REMOTING_FLAG_RESPONSE,
                                 .version = REMOTING_VERSION,
                                 .has_fields = true};
    struct remoting_frame a, b;
    struct remoting_writer w;
    struct buf ready = {0}, general = {0};
    struct send_reply reply;
    char id[RECORD_ID_MAX];
    const char *why = NULL;
    size_t size;

    send_reply_init(&reply, BYTES_LIT("re\"gion"), true, &host);
    send_reply_write(&reply, &ready, x->opaque, x->queue_id, x->log_offset, x->queue_offset);
    remoting_begin(&w, &general, &meta);
    remoting_put_str(&w, "TRACE_ON", "true");
    remoting_put_str(&w, "MSG_REGION", "re\"gion");
    remoting_put_i64(&w, "queueId", x->queue_id);
    record_id_format(id, &host, (int64_t)x->log_offset);
    remoting_put_str(&w, "msgId", id);
    remoting_put_i64(&w, "queueOffset", x->queue_offset);
    remoting_end(&w);

    ck_assert(bytes_equal(buf_bytes(&ready), buf_bytes(&general)));
    ck_assert_int_eq(remoting_frame_size(buf_bytes(&ready), &size), 0);
    ck_assert_uint_eq(size, ready.len);
    ck_assert_int_eq(remoting_decode(buf_at(&ready), ready.len, &a, &why), 0);
    ck_assert_int_eq(remoting_decode(buf_at(&general), general.len, &b, &why), 0);
    ck_assert_int_eq(a.opaque, x->opaque);
    ck_assert_uint_eq(a.field_count, b.field_count);
    buf_destroy(&ready);
    buf_destroy(&general);
}
END_TEST

START_TEST(the_longest_region_fits)
{
    struct record_host host = {.port = 1};
    struct send_reply reply;
    struct buf out = {0};
    char region[127];

    memset(region, 1, sizeof(region)); /* each one becomes six characters */
    send_reply_init(&reply, bytes_of(region, sizeof(region)), false, &host);
    send_reply_write(&reply, &out, 1, 2, 3, 4);
    ck_assert_uint_gt(out.len, 6 * sizeof(region));
    buf_destroy(&out);
}
END_TEST

START_TEST(ids_of_a_batch_stand_in_a_row)
{
    struct record_host host = {.ip = {127, 0, 0, 1}, .port = 20911};
    uint64_t ring[4] = {10, 11, 255, 0};
    struct send_reply reply;
    struct buf out = {0};

    send_reply_init(&reply, BYTES_LIT("r"), true, &host);
    send_reply_ids(&reply, &out, ring, 2, 3, 3);
    ck_assert(bytes_is(buf_bytes(&out), "7F000001000051AF00000000000000FF,"
                                        "7F000001000051AF0000000000000000,"
                                        "7F000001000051AF000000000000000A"));
    buf_destroy(&out);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/send_reply");
    TCase *t = tcase_create("send_reply");

    tcase_add_loop_test(t, it_has_the_fields_of_the_general_writer, 0,
                        (int)(sizeof(samples) / sizeof(samples[0])));
    tcase_add_test(t, the_longest_region_fits);
    tcase_add_test(t, ids_of_a_batch_stand_in_a_row);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
