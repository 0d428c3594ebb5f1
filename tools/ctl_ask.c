/* ctl_ask.c - a question to a broker whose answer is JSON. */
#include <stdio.h>

#include "common/json.h"
#include "tools/ternctl.h"

int ctl_ask_json(struct ctl *ctl, const char *broker, const char *address, const char *doing,
                 int32_t code, const struct rpc_field *fields, size_t count, int32_t absent,
                 json_t **out)
{
    struct rpc_request request = {.code = code, .fields = fields, .field_count = count};
    struct remoting_frame reply;
    struct err why = {0};
    char whom[192];
    int r;

    *out = NULL;
    snprintf(whom, sizeof(whom), "broker %.120s", broker);
    r = client_call(ctl->client, address, whom, &request, &reply, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (reply.code == absent)
        return TOOL_DONE;
    if (reply.code != RESPONSE_SUCCESS)
        return client_refused(address, whom, doing, &reply, &ctl->err);
    *out = json_dialect_load(reply.body, &why);
    if (!*out)
        return err_say(&ctl->err, TOOL_REFUSED, "the answer of %s cannot be read: %s", whom,
                       why.text);
    return TOOL_DONE;
}
