/* send.h - SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE, and what shares their way into the
 * log. */
#ifndef TERN_BROKER_SEND_H
#define TERN_BROKER_SEND_H

#include "broker/call.h"
#include "broker/store/properties.h"

enum call_result serve_send(struct call *call);      /* 10, 310, 320; loop */
enum call_result serve_send_back(struct call *call); /* 36; reader */

/* Turns a message with a delay level into one of the schedule topic: topic and queue replaced,
 * REAL_TOPIC and REAL_QID added to the property text, which is written to `text` (reset before) and
 * borrowed from there. What message->properties borrowed must be elsewhere. Returns 0 or -ENOMEM;
 * -ENOENT when the schedule topic is missing. */
int send_divert_delayed(struct broker *b, struct store_message *message, int level,
                        struct buf *text);

/* Response code and remark for an outcome of store_append. */
int32_t send_store_failure(struct broker *b, int outcome, const char *full, char *remark,
                           size_t remark_size);

#endif
