/* group_state.c - see group_state.h. */
#include "broker/replication/group_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/replication/tern_file.h"
#include "common/sealed.h"

enum { STATE_BYTES_MAX = 65536, STATE_VERSION = 1 };

void group_state_print(const struct group_state *state, struct buf *out)
{
    const struct core_state *c = &state->core;

    sealed_add(out, "format", STATE_VERSION);
    sealed_add(out, "version", c->version);
    sealed_add(out, "member", c->member);
    for (unsigned i = 0; i < c->member_count; i++)
        sealed_add(out, "members", c->members[i]);
    sealed_add(out, "copies", c->copies);
    sealed_add(out, "promised", c->promised);
    sealed_add(out, "writtenTerm", c->written_term);
    for (unsigned i = 0; i < c->epoch_count; i++)
        buf_addf(out, "epoch=%" PRIu64 "@%" PRIu64 "\n", c->epochs[i].epoch, c->epochs[i].start);
    if (state->cut)
        sealed_add(out, state->anew ? "cutAnewAt" : "cutAt", state->cut_to);
    sealed_add(out, "doubtful", state->doubtful);
    buf_addf(out, "boot=%s\n", state->boot_id);
    sealed_end(out);
}

/* --- taking apart --- */

static bool take_epoch(struct core_state *c, struct bytes text)
{
    const uint8_t *at = memchr(text.at, '@', text.len);
    struct core_epoch e;

    if (!at || c->epoch_count == CORE_EPOCHS_MAX ||
        !sealed_number(bytes_of(text.at, (size_t)(at - text.at)), CORE_EPOCH_MAX, &e.epoch) ||
        !sealed_number(bytes_of(at + 1, text.len - (size_t)(at - text.at) - 1), INT64_MAX,
                       &e.start))
        return false;
    if (c->epoch_count > 0 && (e.epoch <= c->epochs[c->epoch_count - 1].epoch ||
                               e.start < c->epochs[c->epoch_count - 1].start))
        return false;
    c->epochs[c->epoch_count++] = e;
    return true;
}

static bool take_boot(struct group_state *out, struct bytes value)
{
    return bytes_to_cstr(value, out->boot_id, sizeof(out->boot_id));
}

static bool take_line(void *ctx, struct bytes key, struct bytes value)
{
    struct group_state *out = ctx;
    struct core_state *c = &out->core;
    uint64_t n = 0;

    if (bytes_is(key, "boot"))
        return take_boot(out, value);
    if (bytes_is(key, "epoch"))
        return take_epoch(c, value);
    if (!sealed_number(value, UINT64_MAX, &n))
        return false;
    if (bytes_is(key, "format"))
        return n == STATE_VERSION;
    if (bytes_is(key, "version")) {
        c->version = n;
    } else if (bytes_is(key, "member")) {
        c->member = (uint16_t)n;
        return n > 0 && n <= UINT16_MAX;
    } else if (bytes_is(key, "members")) {
        if (c->member_count == CORE_MEMBERS_MAX || n == 0 || n > UINT16_MAX)
            return false;
        c->members[c->member_count++] = (uint16_t)n;
    } else if (bytes_is(key, "copies")) {
        c->copies = (uint8_t)n;
        return n > 0 && n <= CORE_MEMBERS_MAX;
    } else if (bytes_is(key, "promised")) {
        c->promised = n;
        return n <= CORE_TERM_MAX;
    } else if (bytes_is(key, "writtenTerm")) {
        c->written_term = n;
        return n <= CORE_TERM_MAX;
    } else if (bytes_is(key, "cutAt") || bytes_is(key, "cutAnewAt")) {
        out->anew = bytes_is(key, "cutAnewAt");
        out->cut = true;
        out->cut_to = n;
        return n <= INT64_MAX;
    } else if (bytes_is(key, "doubtful")) {
        out->doubtful = n == 1;
        return n <= 1;
    } else {
        return false;
    }
    return true;
}

/* This member is one of them, none is named twice, and there are as many as copies are wanted. */
static bool fits_together(const struct core_state *c)
{
    unsigned itself = 0;

    for (unsigned i = 0; i < c->member_count; i++) {
        itself += c->members[i] == c->member;
        for (unsigned k = 0; k < i; k++) {
            if (c->members[k] == c->members[i])
                return false;
        }
    }
    return itself == 1 && c->copies > 0 && c->copies <= c->member_count;
}

int group_state_parse(struct group_state *out, struct bytes text, struct err *err)
{
    int r;

    memset(out, 0, sizeof(*out));
    r = sealed_parse(text, take_line, out, err);
    if (r == 0 && !fits_together(&out->core))
        r = err_say(err, -EBADMSG, "member, members and copies do not fit together");
    return r;
}

/* --- the file --- */

static int parse(void *out, struct bytes text, struct err *err)
{
    return group_state_parse(out, text, err);
}

int group_state_load(struct group_state *out, const char *root_dir, struct err *err)
{
    static const char damaged[] =
        "It holds what this member has promised, which must not be guessed: put back "
        "tern/state.bak (the generation before) only if nobody has been promoted since; or move "
        "the whole store away, and the member joins anew";
    int r = tern_file_load(root_dir, "state", STATE_BYTES_MAX, parse, out, damaged, err);

    /* A crash within a save. It had not returned: what stands in .bak is all that was promised. */
    return r == -ENOENT
               ? tern_file_load(root_dir, "state.bak", STATE_BYTES_MAX, parse, out, damaged, err)
               : r;
}

int group_state_save(const struct group_state *state, const char *root_dir, struct err *err)
{
    struct buf text = {0};
    int r;

    group_state_print(state, &text);
    r = tern_file_save(root_dir, "state", &text, err);
    buf_destroy(&text);
    return r;
}

void group_state_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, 39);

    if (fd >= 0)
        close(fd);
    if (n < 0)
        n = 0;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}
