/* unique_id.c - see unique_id.h. */
#include "tools/unique_id.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"

void unique_id_address(uint8_t ip[4])
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    struct ifaddrs *all = NULL;

    memcpy(ip, loopback, 4);
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct sockaddr_in in;

        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK))
            continue;
        memcpy(&in, i->ifa_addr, sizeof(in));
        memcpy(ip, &in.sin_addr, 4);
        break;
    }
    freeifaddrs(all);
}

int64_t unique_id_month_start(int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;

    if (!localtime_r(&seconds, &tm))
        return now_ms;
    tm.tm_mday = 1;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    return (int64_t)mktime(&tm) * 1000;
}

void unique_id_init(struct unique_id *u)
{
    memset(u, 0, sizeof(*u));
    unique_id_address(u->origin);
    store_be16(u->origin + 4, (uint16_t)getpid());
    /* Not filled only on kernels without getrandom; the process id then has to do. */
    ssize_t n = getrandom(u->origin + 6, 4, GRND_NONBLOCK);
    (void)n;
    u->month_ms = unique_id_month_start(clock_wall_ms());
}

void unique_id_next(struct unique_id *u, int64_t now_ms, char to[UNIQUE_ID_DIGITS + 1])
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t raw[16];

    memcpy(raw, u->origin, sizeof(u->origin));
    store_be32(raw + 10, (uint32_t)(now_ms - u->month_ms));
    store_be16(raw + 14, u->counter++);
    for (unsigned i = 0; i < sizeof(raw); i++) {
        to[2 * i] = digits[raw[i] >> 4];
        to[2 * i + 1] = digits[raw[i] & 15];
    }
    to[UNIQUE_ID_DIGITS] = '\0';
}
