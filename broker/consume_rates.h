/* consume_rates.h - how many messages each consumer group gets of each topic, over the last minute.
 *
 * A pull finds the counter of its (topic, group) once and adds to it when it is answered, which may
 * be later and on another thread. No timer: counts of ten seconds are moved when somebody adds or
 * looks. Times are clock_mono_ms().
 *
 * One mutex for each of 16 parts; any thread. Allocates for a new pair only. Bounded:
 * CONSUME_RATES_MAX pairs; beyond that one that got nothing for a minute gives up its place, and
 * when there is none the newcomer is not counted, which the log says once a minute.
 */
#ifndef TERN_BROKER_CONSUME_RATES_H
#define TERN_BROKER_CONSUME_RATES_H

#include "common/bytes.h"

enum { CONSUME_RATES_MAX = 65536 };

struct consume_rates;

struct consume_rates *consume_rates_new(unsigned most);            /* CONSUME_RATES_MAX */
struct consume_rates *consume_rates_free(struct consume_rates *r); /* returns NULL */

/* A counter; the one of all zeroes is none. Becomes none when its pair gives up its place. */
struct consume_counter {
    uint32_t place, generation;
};
/* `topic` is the index of a struct topic, `group` has at most 255 bytes. */
struct consume_counter consume_rates_find(struct consume_rates *r, uint32_t topic,
                                          struct bytes group, int64_t now_ms);
void consume_rates_add(struct consume_rates *r, struct consume_counter counter, uint32_t messages,
                       int64_t now_ms);
/* Messages a second; 0 for a pair that is not known. */
double consume_rates_of(struct consume_rates *r, uint32_t topic, struct bytes group,
                        int64_t now_ms);

#endif
