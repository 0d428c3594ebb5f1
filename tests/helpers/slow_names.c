/* slow_names.c - put before a program (LD_PRELOAD): the host member.test is 127.0.0.1, which takes
 * a moment to be found out.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strcmp(name, "member.test") == 0 && hints && !(hints->ai_flags & AI_NUMERICHOST)) {
        usleep(300000);
        name = "127.0.0.1";
    }
    return next(name, service, hints, found);
}
