/* conn_remoting.c - the remoting protocol on a connection: whole frames, decoded, to the handler.
 *
 * The first eight bytes of a frame say enough to refuse what is not one (an HTTP request, a TLS
 * hello, a length out of range) before anything is waited for or kept.
 */
#include "common/loop_internal.h"

#include <ctype.h>

enum {
    IDLE_MS = 120 * 1000,
    STALL_MS = 30 * 1000,
    OUTPUT_MAX = 16 * 1024 * 1024,
    TLS_HANDSHAKE = 0x16,
};

/* What is wrong with the start of a frame, as far as it has come; NULL: nothing yet. */
static const char *wrong_start(const uint8_t *at, size_t len)
{
    /* No length that a frame may have begins with another byte. */
    if (at[0] != 0) {
        if (at[0] == TLS_HANDSHAKE && (len == 1 || at[1] == 3))
            return "TLS is not enabled here";
        bool text = true;
        for (size_t i = 0; i < len && i < 4; i++)
            text = text && (isprint(at[i]) || isspace(at[i]));
        if (text)
            return "not the remoting protocol (HTTP or other text)";
    }
    if (len >= 4 && (load_be32(at) < 4 || load_be32(at) > REMOTING_FRAME_MAX - 4))
        return "a frame's length is out of range";
    if (at[0] > 1)
        return "not the remoting protocol";
    if (len >= 5 && at[4] > REMOTING_BINARY)
        return "a frame's serialization is unknown";
    if (len >= 8 && (load_be32(at + 4) & 0xffffff) > load_be32(at) - 4)
        return "a frame's header is longer than the frame";
    return NULL;
}

/* `frame` is two kilobytes that are not cleared for every frame. */
static const char *take_frame(struct conn *c, uint8_t *at, size_t len, struct remoting_frame *frame)
{
    const struct remoting_handler *handler = c->origin->remoting;
    const char *why = "a frame cannot be decoded";

    if (remoting_decode(at, len, frame, &why) != 0)
        return why;
    if (!remoting_is_response(frame))
        handler->request(c->ctx, c, frame);
    else if (handler->response)
        handler->response(c->ctx, c, frame);
    return NULL;
}

static ssize_t remoting_input(struct conn *c, uint8_t *data, size_t len, size_t *want,
                              const char **why)
{
    struct remoting_frame frame;
    size_t at = 0;

    (void)why; /* conn_refuse() shows the bytes of the bad frame, not those before it */
    while (at < len && c->state == CONN_OPEN && !conn_is_full(c)) {
        size_t total = 0;
        const char *wrong = wrong_start(data + at, len - at);
        if (!wrong) {
            int r = remoting_frame_size(bytes_of(data + at, len - at), &total);
            if (r == REMOTING_PARTIAL)
                break;
            if (r != 0)
                wrong = "a frame's length is out of range";
        }
        if (!wrong && total > len - at) {
            *want = total;
            break;
        }
        if (!wrong)
            wrong = take_frame(c, data + at, total, &frame);
        if (wrong) {
            conn_refuse(c, data + at, len - at, wrong);
            break;
        }
        at += total;
    }
    return (ssize_t)at;
}

static void remoting_closed(struct conn *c)
{
    const struct remoting_handler *handler = c->origin->remoting;

    if (handler->closed)
        handler->closed(c->ctx, c);
}

const struct conn_protocol conn_remoting_protocol = {
    .input = remoting_input,
    .closed = remoting_closed,
    .input_max = REMOTING_FRAME_MAX,
    .output_max = OUTPUT_MAX,
    .idle_ms = IDLE_MS,
    .stall_ms = STALL_MS,
};
