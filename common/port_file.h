/* port_file.h - the file that tells which port a server got: "10911\n".
 *
 * Whoever starts a server waits for the file to appear, so that of the last run is gone before
 * anything else happens, and the new one comes whole, when the port is served. An empty path means
 * that nobody wants to know. For the main thread.
 */
#ifndef TERN_COMMON_PORT_FILE_H
#define TERN_COMMON_PORT_FILE_H

#include "common/err.h"

/* 0, or -errno when there is something else than a file, or no way to write one later. */
int port_file_clear(const char *path, struct err *err);
int port_file_write(const char *path, unsigned port, struct err *err);

#endif
