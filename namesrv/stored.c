/* stored.c - a change is answered when it is in its file. The writing is saver.c's; here wait the
 * answers, in the order of their changes. */
#include "namesrv/namesrv_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

static void on_saved(void *ctx, uint64_t upto, int code, const char *why)
{
    struct stored *s = ctx;
    char remark[1024];
    size_t done = 0;

    if (code < 0) {
        log_error("%s; the change is in effect until the next start", why);
        snprintf(remark, sizeof(remark), "in effect until the next start, but not kept: %s", why);
    }
    while (done < s->waiting_count && s->waiting[done].number <= upto) {
        ns_answer_later(s->ns, &s->waiting[done].asker,
                        code < 0 ? RESPONSE_SYSTEM_ERROR : RESPONSE_SUCCESS,
                        code < 0 ? remark : NULL);
        done++;
    }
    s->waiting_count -= done;
    memmove(s->waiting, s->waiting + done, s->waiting_count * sizeof(s->waiting[0]));
}

int ns_stored_init(struct stored *s, struct namesrv *ns, const char *path)
{
    s->ns = ns;
    return path[0] == '\0' ? 0 : saver_new(&s->saver, path, ns->loop, on_saved, s);
}

bool ns_stored_has_room(const struct stored *s, const struct request *rq)
{
    if (s->waiting_count < NAMESRV_WAITING_MAX)
        return true;
    ns_answer(rq, RESPONSE_SYSTEM_BUSY, "%d changes wait for %s to be written, try again",
              NAMESRV_WAITING_MAX, saver_path(s->saver));
    return false;
}

void ns_stored_answer(struct stored *s, const struct request *rq, struct buf *text)
{
    uint64_t number;
    int r;

    if (!s->saver) {
        buf_destroy(text);
        ns_answer(rq, RESPONSE_SUCCESS, NULL);
        return;
    }
    r = text->failed ? -ENOMEM : saver_save(s->saver, text, &number);
    buf_destroy(text);
    if (r < 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR,
                  "in effect until the next start, but not kept: write %s: %s",
                  saver_path(s->saver), strerror(-r));
        return;
    }
    assert(s->waiting_count < NAMESRV_WAITING_MAX);
    s->waiting[s->waiting_count].asker = ns_asker(rq);
    s->waiting[s->waiting_count].number = number;
    s->waiting_count++;
}

void ns_stored_stop(struct stored *s)
{
    if (s->saver)
        saver_stop(s->saver);
}

void ns_stored_destroy(struct stored *s)
{
    s->saver = saver_free(s->saver);
}
