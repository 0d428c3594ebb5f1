/* notify.h - how a program tells its service manager that it is ready, that it lives, that it
 * stops.
 *
 * The datagrams of systemd's sd_notify (docs/decisions has why by hand). The socket belongs to the
 * process, as the log does. Without $NOTIFY_SOCKET every call does nothing. Once opened, any thread
 * may call; a message that cannot be sent is one warning a minute, since nobody else can do
 * anything about it.
 */
#ifndef TERN_COMMON_NOTIFY_H
#define TERN_COMMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* For the main thread, before others run. Takes $NOTIFY_SOCKET, a path or "@" and an abstract name,
 * $WATCHDOG_USEC and $WATCHDOG_PID; what cannot be used is a warning. */
void notify_open(void);
void notify_close(void); /* safe without notify_open(), and twice */

/* Start-up is over. These two wait up to 5 s for a manager that is slow to listen. */
void notify_ready(const char *status, ...) __attribute__((format(printf, 1, 2)));
void notify_stopping(void);
/* One line for `systemctl status`. Never waits. */
void notify_status(const char *status, ...) __attribute__((format(printf, 1, 2)));

/* After how many ms without notify_alive() the manager calls the process hung; 0: it never does. */
int64_t notify_watchdog_ms(void);
/* Never waits. False: not sent, to be tried again soon. */
bool notify_alive(void);

#endif
