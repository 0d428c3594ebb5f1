/* bench_report.c - results as people and scripts read them. */
#include "tools/bench.h"

#include <stdio.h>

#include "tools/show.h"

char *bench_time(char to[BENCH_TIME_MAX], double ns)
{
    if (ns < 1e3)
        snprintf(to, BENCH_TIME_MAX, "%.0f ns", ns);
    else if (ns < 1e6)
        snprintf(to, BENCH_TIME_MAX,
                 ns < 1e4   ? "%.2f us"
                 : ns < 1e5 ? "%.1f us"
                            : "%.0f us",
                 ns / 1e3);
    else if (ns < 1e9)
        snprintf(to, BENCH_TIME_MAX,
                 ns < 1e7   ? "%.2f ms"
                 : ns < 1e8 ? "%.1f ms"
                            : "%.0f ms",
                 ns / 1e6);
    else
        snprintf(to, BENCH_TIME_MAX, "%.2f s", ns / 1e9);
    return to;
}

char *bench_count(char to[BENCH_TIME_MAX], double n)
{
    char digits[BENCH_TIME_MAX];
    int len = snprintf(digits, sizeof(digits), "%.0f", n), at = 0;

    for (int i = 0; i < len && at < BENCH_TIME_MAX - 2; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    to[at] = '\0';
    return to;
}

int bench_judge(const struct load_result *result, struct err *err)
{
    if (result->messages == 0)
        return err_say(err, TOOL_REFUSED, "no message was accepted%s%s",
                       result->remark[0] ? ": " : "", result->remark);
    if (result->unanswered)
        return err_say(err, TOOL_UNREACHABLE, "%llu requests have had no reply for at least %d s",
                       (unsigned long long)result->unanswered, LOAD_DRAIN_MS / 1000);
    return TOOL_DONE;
}

double bench_rate(const struct load_result *result)
{
    return result->elapsed_s > 0 ? (double)result->messages / result->elapsed_s : 0;
}

double bench_cpu_us(const struct load_result *result)
{
    return result->has_use && result->messages ? result->use.cpu_s * 1e6 / (double)result->messages
                                               : 0;
}

static double percentile(const struct load_result *result, double percent)
{
    return (double)histogram_percentile(&result->latency, percent);
}

static void latency_text(struct buf *out, const struct load_result *result)
{
    static const double percents[] = {50, 90, 99, 99.9};
    char time[BENCH_TIME_MAX];

    buf_add_str(out, "  latency       ");
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        buf_addf(out, "p%g %s   ", percents[i], bench_time(time, percentile(result, percents[i])));
    buf_addf(out, "max %s\n", bench_time(time, (double)result->latency.max));
}

static void use_text(struct buf *out, const struct load_result *result)
{
    double s = result->use_elapsed_s > 0 ? result->use_elapsed_s : 1;

    buf_addf(out, "  server CPU    %.2f us per message (%.2f s per million), %.0f %% of a core\n",
             bench_cpu_us(result), bench_cpu_us(result), 100 * result->use.cpu_s / s);
    buf_addf(out, "  switches      %.0f voluntary and %.0f involuntary a second\n",
             (double)result->use.voluntary / s, (double)result->use.involuntary / s);
}

void bench_report_text(struct buf *out, const struct bench_case *what,
                       const struct load_result *result)
{
    const struct load_plan *plan = what->plan;
    char count[BENCH_TIME_MAX];

    buf_addf(out, "%s at %s", what->title, what->address);
    if (what->topic)
        buf_addf(out, ", topic %s", what->topic);
    buf_addf(out, ": %u %s", plan->connections,
             plan->connections == 1 ? "connection" : "connections");
    if (plan->oneway)
        buf_add_str(out, ", one-way");
    else
        buf_addf(out, " x %u in flight", plan->window);
    if (plan->batch > 1)
        buf_addf(out, ", batches of %u", plan->batch);
    buf_addf(out, ", %zu bytes%s\n", plan->body_bytes, plan->binary ? ", binary headers" : "");
    buf_addf(out, "  messages      %s in %.2f s\n", bench_count(count, (double)result->messages),
             result->elapsed_s);
    buf_addf(out, "  rate          %s a second, %.1f MiB/s of bodies\n",
             bench_count(count, bench_rate(result)),
             bench_rate(result) * (double)plan->body_bytes / 1048576);
    if (!plan->oneway)
        latency_text(out, result);
    if (result->has_use)
        use_text(out, result);
    if (result->messages)
        buf_addf(out, "  generator CPU %.2f us per message\n",
                 result->own_cpu_s * 1e6 / (double)result->messages);
    if (result->unanswered)
        buf_addf(out, "  no reply      to %s requests; their age counts as latency\n",
                 bench_count(count, (double)result->unanswered));
    for (unsigned i = 0; i < result->code_count; i++)
        buf_addf(out, "  refused       %s with code %d %s\n",
                 bench_count(count, (double)result->codes[i].replies), result->codes[i].code,
                 show_code(result->codes[i].code));
    if (result->remark[0])
        buf_addf(out, "                first: %s\n", result->remark);
}

static void kv_double(struct json_out *j, const char *key, double value)
{
    jout_key(j, key);
    jout_double(j, value);
}

void bench_plan_json(struct json_out *j, const struct load_plan *plan)
{
    jout_kv_i64(j, "connections", plan->connections);
    jout_kv_i64(j, "window", plan->oneway ? 0 : plan->window);
    jout_kv_i64(j, "size", (int64_t)plan->body_bytes);
    jout_kv_i64(j, "batch", plan->batch);
    jout_kv_bool(j, "oneway", plan->oneway);
    jout_kv_bool(j, "binary", plan->binary);
    jout_kv_i64(j, "threads", plan->threads);
    jout_kv_i64(j, "spinMicros", plan->spin_us);
    jout_kv_i64(j, "warmupMillis", plan->warmup_ms);
}

void bench_report_json(struct json_out *j, const struct load_result *result)
{
    double messages = result->messages ? (double)result->messages : 1;

    jout_kv_i64(j, "messages", (int64_t)result->messages);
    kv_double(j, "seconds", result->elapsed_s);
    kv_double(j, "rate", bench_rate(result));
    jout_key(j, "latencyMicros");
    if (result->latency.total) {
        jout_object(j);
        kv_double(j, "mean", histogram_mean(&result->latency) / 1e3);
        kv_double(j, "p50", percentile(result, 50) / 1e3);
        kv_double(j, "p90", percentile(result, 90) / 1e3);
        kv_double(j, "p99", percentile(result, 99) / 1e3);
        kv_double(j, "p999", percentile(result, 99.9) / 1e3);
        kv_double(j, "max", (double)result->latency.max / 1e3);
        jout_object_end(j);
    } else {
        jout_null(j);
    }
    jout_kv_i64(j, "unanswered", (int64_t)result->unanswered);
    jout_key(j, "refused");
    jout_object(j);
    for (unsigned i = 0; i < result->code_count; i++) {
        jout_key_int_quoted(j, result->codes[i].code);
        jout_i64(j, (int64_t)result->codes[i].replies);
    }
    jout_object_end(j);
    jout_key(j, "server");
    if (result->has_use) {
        jout_object(j);
        kv_double(j, "cpuSeconds", result->use.cpu_s);
        kv_double(j, "cpuSecondsPerMillion", result->use.cpu_s * 1e6 / messages);
        kv_double(j, "cpuShare",
                  result->use_elapsed_s > 0 ? result->use.cpu_s / result->use_elapsed_s : 0);
        jout_kv_i64(j, "voluntarySwitches", (int64_t)result->use.voluntary);
        jout_kv_i64(j, "involuntarySwitches", (int64_t)result->use.involuntary);
        jout_object_end(j);
    } else {
        jout_null(j);
    }
    kv_double(j, "generatorCpuSeconds", result->own_cpu_s);
}
