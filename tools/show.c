/* show.c - see show.h. */
#include "tools/show.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "common/codes.h"

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

static void show_byte(struct buf *out, uint8_t byte, bool keep_tabs)
{
    switch (byte) {
    case '\n':
        buf_add_str(out, "\\n");
        break;
    case '\r':
        buf_add_str(out, "\\r");
        break;
    case '\t':
        buf_add_str(out, keep_tabs ? "\t" : "\\t");
        break;
    default:
        buf_addf(out, "\\x%02X", byte);
    }
}

void show_text(struct buf *out, struct bytes text, bool keep_tabs)
{
    size_t plain = 0; /* bytes from here to `at` go out unchanged */
    size_t at = 0;

    while (at < text.len) {
        uint32_t point = 0;
        unsigned size = bytes_utf8_at(bytes_of(text.at + at, text.len - at), &point);

        if (size > 0 && !is_control(point)) {
            at += size;
            continue;
        }
        if (at > plain)
            buf_add(out, text.at + plain, at - plain);
        if (size == 0)
            size = 1;
        for (unsigned i = 0; i < size; i++)
            show_byte(out, text.at[at + i], keep_tabs);
        at += size;
        plain = at;
    }
    if (at > plain)
        buf_add(out, text.at + plain, at - plain);
}

void show_note(const char *program, const char *format, va_list args)
{
    char text[768];
    struct buf out = {0};

    vsnprintf(text, sizeof(text), format, args);
    buf_addf(&out, "%s: ", program);
    show_text(&out, bytes_str(text), true);
    buf_add_u8(&out, '\n');
    if (!out.failed)
        fwrite(buf_at(&out), 1, out.len, stderr);
    buf_destroy(&out);
}

size_t show_width(struct bytes text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += (text.at[i] & 0xc0) != 0x80;
    return width;
}

void show_base64(struct buf *out, struct bytes data)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t v = (uint32_t)data.at[i] << 16;
        char four[4];

        if (n > 1)
            v |= (uint32_t)data.at[i + 1] << 8;
        if (n > 2)
            v |= data.at[i + 2];
        for (int k = 0; k < 4; k++)
            four[k] = digits[v >> (18 - 6 * k) & 63];
        for (size_t k = n + 1; k < 4; k++)
            four[k] = '=';
        buf_add(out, four, sizeof(four));
    }
}

char *show_time(char to[SHOW_TIME_MAX], int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    size_t n = 0;

    if (ms > 0 && localtime_r(&seconds, &tm))
        n = strftime(to, SHOW_TIME_MAX - 8, "%Y-%m-%d %H:%M:%S", &tm);
    if (n == 0)
        strcpy(to, "-");
    else
        snprintf(to + n, SHOW_TIME_MAX - n, ".%03d", (int)(ms % 1000));
    return to;
}

char *show_size(char to[SHOW_SIZE_MAX], double size_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;

    while (size_bytes >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
        size_bytes /= 1024;
        i++;
    }
    snprintf(to, SHOW_SIZE_MAX, i == 0 ? "%.0f %s" : "%.1f %s", size_bytes, units[i]);
    return to;
}

const char *show_perm(int64_t perm)
{
    static const char *const names[] = {"-", "W", "R", "RW"};

    return names[perm >> 1 & 3];
}

char *show_errno(char to[SHOW_ERRNO_MAX], int code)
{
    snprintf(to, SHOW_ERRNO_MAX, "%s", strerror(-code));
    if (isupper((unsigned char)to[0]) && islower((unsigned char)to[1]))
        to[0] = (char)tolower((unsigned char)to[0]);
    return to;
}

const char *show_code(int32_t code)
{
    switch (code) {
    case RESPONSE_SUCCESS:
        return "SUCCESS";
    case RESPONSE_SYSTEM_ERROR:
        return "SYSTEM_ERROR";
    case RESPONSE_SYSTEM_BUSY:
        return "SYSTEM_BUSY";
    case RESPONSE_REQUEST_CODE_NOT_SUPPORTED:
        return "REQUEST_CODE_NOT_SUPPORTED";
    case RESPONSE_FLUSH_DISK_TIMEOUT:
        return "FLUSH_DISK_TIMEOUT";
    case RESPONSE_SLAVE_NOT_AVAILABLE:
        return "SLAVE_NOT_AVAILABLE";
    case RESPONSE_FLUSH_SLAVE_TIMEOUT:
        return "FLUSH_SLAVE_TIMEOUT";
    case RESPONSE_MESSAGE_ILLEGAL:
        return "MESSAGE_ILLEGAL";
    case RESPONSE_SERVICE_NOT_AVAILABLE:
        return "SERVICE_NOT_AVAILABLE";
    case RESPONSE_VERSION_NOT_SUPPORTED:
        return "VERSION_NOT_SUPPORTED";
    case RESPONSE_NO_PERMISSION:
        return "NO_PERMISSION";
    case RESPONSE_TOPIC_NOT_EXIST:
        return "TOPIC_NOT_EXIST";
    case RESPONSE_PULL_NOT_FOUND:
        return "PULL_NOT_FOUND";
    case RESPONSE_PULL_RETRY_IMMEDIATELY:
        return "PULL_RETRY_IMMEDIATELY";
    case RESPONSE_PULL_OFFSET_MOVED:
        return "PULL_OFFSET_MOVED";
    case RESPONSE_QUERY_NOT_FOUND:
        return "QUERY_NOT_FOUND";
    case RESPONSE_SUBSCRIPTION_PARSE_FAILED:
        return "SUBSCRIPTION_PARSE_FAILED";
    case RESPONSE_SUBSCRIPTION_NOT_EXIST:
        return "SUBSCRIPTION_NOT_EXIST";
    case RESPONSE_SUBSCRIPTION_NOT_LATEST:
        return "SUBSCRIPTION_NOT_LATEST";
    case RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST:
        return "SUBSCRIPTION_GROUP_NOT_EXIST";
    case RESPONSE_CONSUMER_NOT_ONLINE:
        return "CONSUMER_NOT_ONLINE";
    case RESPONSE_CONSUME_MSG_TIMEOUT:
        return "CONSUME_MSG_TIMEOUT";
    default:
        return "unknown";
    }
}
