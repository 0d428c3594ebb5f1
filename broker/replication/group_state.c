/* group_state.c - see group_state.h. */
#include "broker/replication/group_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
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

static int path_of(char path[PATH_MAX], const char *root_dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/tern%s", root_dir, name) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "open %s/tern%s", root_dir, name);
    return 0;
}

static int load(struct group_state *out, const char *path, struct err *err)
{
    struct buf text = {0};
    struct err why = {0};
    int r = file_load(path, STATE_BYTES_MAX, &text);

    if (r < 0 && r != -EFBIG) {
        err_set(err, r, "read %s", path);
    } else {
        r = r < 0 ? err_say(&why, -EBADMSG, "more than %d bytes", STATE_BYTES_MAX)
                  : group_state_parse(out, buf_bytes(&text), &why);
        if (r < 0)
            err_say(
                err, r,
                "%s is damaged: %s. It holds what this member has promised, which must not be "
                "guessed: put back tern/state.bak (the generation before) only if nobody has been "
                "promoted since; or move the whole store away, and the member joins anew",
                path, why.text);
    }
    buf_destroy(&text);
    return r;
}

int group_state_load(struct group_state *out, const char *root_dir, struct err *err)
{
    char path[PATH_MAX], before[PATH_MAX];
    int r = path_of(path, root_dir, "/state", err);

    if (r == 0)
        r = path_of(before, root_dir, "/state.bak", err);
    if (r < 0)
        return r;
    r = load(out, path, err);
    /* A crash within a save. It had not returned: what stands in .bak is all that was promised. */
    return r == -ENOENT ? load(out, before, err) : r;
}

int group_state_save(const struct group_state *state, const char *root_dir, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = {0};
    int r = path_of(path, root_dir, "", err);

    if (r < 0)
        return r;
    r = file_mkdirs(path);
    if (r < 0)
        return err_set(err, r, "make %s", path);
    r = path_of(path, root_dir, "/state", err);
    if (r < 0)
        return r;
    group_state_print(state, &text);
    r = text.failed ? err_set(err, -ENOMEM, "write %s", path)
                    : file_replace(path, buf_bytes(&text), err);
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
