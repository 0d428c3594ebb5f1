/* unique_id.h - message ids as clients make them (the property UNIQ_KEY).
 *
 * 16 bytes as 32 upper-case hex digits: IPv4 address, process id (16 bits), 4 random bytes, ms
 * since the first of the month (32 bits), counter (16 bits). Source: docs/protocol/remoting.md,
 * "Message ids".
 */
#ifndef TERN_TOOLS_UNIQUE_ID_H
#define TERN_TOOLS_UNIQUE_ID_H

#include <stdint.h>

enum { UNIQUE_ID_DIGITS = 32 };

struct unique_id {
    uint8_t origin[10]; /* all but time and counter */
    int64_t month_ms;   /* the first of this month, wall clock */
    uint16_t counter;
};

/* Takes the first address of this machine that is not loopback, and bytes from the system. */
void unique_id_init(struct unique_id *u);
/* The next id at `now_ms` of the wall clock, with a closing NUL. */
void unique_id_next(struct unique_id *u, int64_t now_ms, char to[UNIQUE_ID_DIGITS + 1]);
/* The ms of the first of the month that `now_ms` lies in, local time. */
int64_t unique_id_month_start(int64_t now_ms);
/* This machine's IPv4 address, 127.0.0.1 when it has no other. */
void unique_id_address(uint8_t ip[4]);

#endif
