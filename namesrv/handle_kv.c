/* handle_kv.c - the table of keys that tools keep here: 100, 101, 102, 219. */
#include "namesrv/namesrv_internal.h"

static bool read_place(const struct request *rq, struct bytes *ns, struct bytes *key)
{
    return ns_need_text(rq, "namespace", ns) && ns_need_text(rq, "key", key);
}

static void answer_changed(const struct request *rq)
{
    struct buf text = {0};

    if (rq->ns->kv_file.saver)
        kv_config_file_json(rq->ns->kv, &text);
    ns_stored_answer(&rq->ns->kv_file, rq, &text);
}

void ns_put_kv(const struct request *rq)
{
    struct bytes ns, key;
    struct err err = {0};

    if (!read_place(rq, &ns, &key) || !ns_stored_has_room(&rq->ns->kv_file, rq))
        return;
    if (!remoting_field(rq->frame, "value")) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "the header field value is missing");
        return;
    }
    if (kv_config_put(rq->ns->kv, ns, key, ns_take_text(rq, "value"), &err) != 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "%s", err.text);
        return;
    }
    answer_changed(rq);
}

void ns_get_kv(const struct request *rq)
{
    struct bytes ns, key, value = {0};
    struct remoting_writer w;
    bool found;

    if (!read_place(rq, &ns, &key))
        return;
    found = kv_config_get(rq->ns->kv, ns, key, &value);
    if (!ns_answer_begin(rq, &w, found ? RESPONSE_SUCCESS : RESPONSE_QUERY_NOT_FOUND, true,
                         found ? NULL : "no such key in that namespace"))
        return;
    if (found)
        remoting_put(&w, "value", value);
    ns_answer_end(rq, &w);
}

void ns_delete_kv(const struct request *rq)
{
    struct bytes ns, key;

    if (!read_place(rq, &ns, &key) || !ns_stored_has_room(&rq->ns->kv_file, rq))
        return;
    if (kv_config_delete(rq->ns->kv, ns, key))
        answer_changed(rq);
    else
        ns_answer(rq, RESPONSE_SUCCESS, NULL);
}

void ns_kv_list(const struct request *rq)
{
    struct remoting_writer w;
    struct bytes ns;

    if (!ns_need_text(rq, "namespace", &ns))
        return;
    if (!kv_config_has_namespace(rq->ns->kv, ns)) {
        ns_answer(rq, RESPONSE_QUERY_NOT_FOUND, "no such namespace");
        return;
    }
    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    kv_config_namespace_json(rq->ns->kv, ns, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}
