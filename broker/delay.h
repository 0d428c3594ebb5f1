/* delay.h - delay levels: messages of SCHEDULE_TOPIC_XXXX go to their real topic when due.
 *
 * Of a master: started when this broker is one, also again. One thread for all levels. It sleeps
 * until the earliest entry of any level is due, or until a message arrives at a level that had
 * none; an idle broker's thread does not wake. Each level's cursor is kept by the metadata journal
 * (and delayOffset.json): delivery is at least once.
 */
#ifndef TERN_BROKER_DELAY_H
#define TERN_BROKER_DELAY_H

#include "broker/call.h"

#define DELAY_TOPIC "SCHEDULE_TOPIC_XXXX"

struct delay *delay_new(struct broker *b);
/* Not from two threads at once, as the next two. After delay_halt() it waits for the thread. */
int delay_start(struct delay *d, struct err *err);
/* This broker is not the master any more: the thread ends by itself. */
void delay_halt(struct delay *d);
/* Ends the thread, before the store is closed; delay_progress() may still be called. Safe twice. */
void delay_stop(struct delay *d);
/* The store was closed cleanly, so what was delivered is on the disk: journals how far each level
 * has come. After delay_stop(), before the metadata is closed. Not of a member of a group: what it
 * delivered last may have no copies. */
void delay_settle(struct delay *d);
struct delay *
delay_free(struct delay *d); /* stops first; after the store is closed; returns NULL */
/* A message was appended to the schedule topic at this level (1 based). Any thread, cheap. */
void delay_arrived(struct delay *d, int level);
/* `confirmed` moved; cheap when the thread does not wait for that. */
void delay_progress(struct delay *d);

#endif
