/* deletion.h - what the settings say about deletion, and the requests that ask for it. */
#ifndef TERN_BROKER_DELETION_H
#define TERN_BROKER_DELETION_H

#include "broker/call.h"

/* The settings as they are now, ratios brought into their ranges. Takes the settings' read lock. */
void deletion_settings(struct broker_settings *s, struct store_retention *out);
/* The settings have changed. */
void deletion_changed(struct broker *b);

enum call_result serve_clean_queues(struct call *call); /* 306, loop */
enum call_result serve_clean_log(struct call *call);    /* 329, loop */

#endif
