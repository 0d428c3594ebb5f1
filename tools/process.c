/* process.c - see process.h. */
#include "tools/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/file.h"

enum { TEXT_MAX = 64 * 1024, UTIME = 14, STIME = 15 };

/* "PID (name) S ..."; the name may hold anything, so fields are counted from the last ')'. */
int process_parse_stat(struct bytes text, int64_t *ticks)
{
    const uint8_t *close = text.len ? memrchr(text.at, ')', text.len) : NULL;
    struct bytes rest;
    int64_t sum = 0;

    if (!close)
        return -EINVAL;
    rest = bytes_of(close + 1, text.len - (size_t)(close + 1 - text.at));
    for (int field = 2; rest.len; field++) {
        const uint8_t *space = memchr(rest.at, ' ', rest.len);
        size_t len = space ? (size_t)(space - rest.at) : rest.len;
        int64_t value;

        if (field == UTIME || field == STIME) {
            if (!bytes_to_i64(bytes_of(rest.at, len), &value))
                return -EINVAL;
            sum += value;
        }
        if (field == STIME) {
            *ticks = sum;
            return 0;
        }
        if (!space)
            break;
        rest = bytes_of(space + 1, rest.len - len - 1);
    }
    return -EINVAL;
}

uint64_t process_parse_status(struct bytes text, const char *name)
{
    size_t name_len = strlen(name);
    uint64_t value = 0;

    while (text.len) {
        const uint8_t *end = memchr(text.at, '\n', text.len);
        size_t len = end ? (size_t)(end - text.at) : text.len;

        if (len > name_len && memcmp(text.at, name, name_len) == 0 && text.at[name_len] == ':') {
            for (size_t i = name_len + 1; i < len; i++) {
                if (text.at[i] >= '0' && text.at[i] <= '9')
                    value = value * 10 + (uint64_t)(text.at[i] - '0');
            }
            return value;
        }
        text = bytes_of(text.at + len + (end ? 1 : 0), text.len - len - (end ? 1 : 0));
    }
    return 0;
}

static int read_text(const char *path, struct buf *text)
{
    buf_reset(text);
    return file_load(path, TEXT_MAX, text);
}

static int add_switches(pid_t pid, struct process_use *out)
{
    struct buf text = {0};
    char path[64 + 256];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    dir = opendir(path);
    if (!dir)
        return -errno;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/task/%s/status", (long)pid, entry->d_name);
        if (read_text(path, &text) < 0)
            continue; /* the thread has just ended */
        out->voluntary += process_parse_status(buf_bytes(&text), "voluntary_ctxt_switches");
        out->involuntary += process_parse_status(buf_bytes(&text), "nonvoluntary_ctxt_switches");
    }
    closedir(dir);
    buf_destroy(&text);
    return 0;
}

int process_use(pid_t pid, struct process_use *out, struct err *err)
{
    struct buf text = {0};
    char path[64];
    int r;

    *out = (struct process_use){.cpu_ticks = 0};
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    r = read_text(path, &text);
    if (r >= 0)
        r = process_parse_stat(buf_bytes(&text), &out->cpu_ticks);
    buf_destroy(&text);
    if (r >= 0)
        r = add_switches(pid, out);
    if (r < 0)
        return err_set(err, r, "read what process %ld has used", (long)pid);
    out->cpu_s = (double)out->cpu_ticks / (double)sysconf(_SC_CLK_TCK);
    return 0;
}
