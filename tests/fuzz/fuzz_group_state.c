/* Any bytes as tern/state and as tern/promoted, as they are and with a checksum that is right,
 * which lets the rest be reached. What parses is within its bounds, and printed and parsed again it
 * is the same. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "broker/replication/group_state.h"
#include "broker/replication/promoted.h"
#include "common/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct group_state *state)
{
    const struct core_state *c = &state->core;
    unsigned itself = 0;

    assert(c->member > 0 && c->member_count <= CORE_MEMBERS_MAX);
    assert(c->copies > 0 && c->copies <= c->member_count);
    assert(c->promised <= CORE_TERM_MAX && c->written_term <= CORE_TERM_MAX);
    for (unsigned i = 0; i < c->member_count; i++) {
        assert(c->members[i] > 0);
        itself += c->members[i] == c->member;
    }
    assert(itself == 1 && c->epoch_count <= CORE_EPOCHS_MAX);
    for (unsigned i = 0; i < c->epoch_count; i++) {
        assert(c->epochs[i].start <= INT64_MAX);
        assert(i == 0 || (c->epochs[i].epoch > c->epochs[i - 1].epoch &&
                          c->epochs[i].start >= c->epochs[i - 1].start));
    }
    assert(state->cut || !state->anew);
    assert(state->cut_to <= INT64_MAX && memchr(state->boot_id, 0, sizeof(state->boot_id)));
}

static void parse_promoted(struct bytes text)
{
    struct err err = {0};
    uint64_t epoch;

    if (promoted_parse(&epoch, text, &err) == 0)
        assert(epoch > 0 && epoch <= INT64_MAX);
    else
        assert(err.code == -EBADMSG && err.text[0] != '\0');
}

static void parse(struct bytes text)
{
    struct group_state state, again;
    struct buf printed = {0}, twice = {0};
    struct err err = {0};

    parse_promoted(text);
    if (group_state_parse(&state, text, &err) != 0) {
        assert(err.code == -EBADMSG && err.text[0] != '\0');
        return;
    }
    check(&state);
    group_state_print(&state, &printed);
    if (!printed.failed) {
        assert(group_state_parse(&again, buf_bytes(&printed), &err) == 0);
        group_state_print(&again, &twice);
        assert(twice.failed || bytes_equal(buf_bytes(&printed), buf_bytes(&twice)));
    }
    buf_destroy(&printed);
    buf_destroy(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf sealed = {0};

    parse(bytes_of(data, size));
    buf_add(&sealed, data, size);
    buf_addf(&sealed, "crc=%" PRIu32 "\n", crc32_of(0, bytes_of(data, size)));
    if (!sealed.failed)
        parse(buf_bytes(&sealed));
    buf_destroy(&sealed);
    return 0;
}
