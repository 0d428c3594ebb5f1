/* process.h - what a process has used so far, read from /proc. */
#ifndef TERN_TOOLS_PROCESS_H
#define TERN_TOOLS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/bytes.h"
#include "common/err.h"

struct process_use {
    double cpu_s; /* user and system, all threads, those that have ended too (/proc/PID/stat) */
    int64_t cpu_ticks;               /* the same as the kernel counts it */
    uint64_t voluntary, involuntary; /* context switches of the threads that are there */
};

/* 0; negative with err (-ENOENT: no such process). */
int process_use(pid_t pid, struct process_use *out, struct err *err);
/* Ticks of utime and stime in the text of /proc/PID/stat; pure. -EINVAL. */
int process_parse_stat(struct bytes text, int64_t *ticks);
/* The number behind "name:" at the start of a line of /proc/PID/status; pure. 0 when absent. */
uint64_t process_parse_status(struct bytes text, const char *name);

#endif
