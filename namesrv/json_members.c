/* json_members.c - see json_members.h. */
#include "namesrv/json_members.h"

#include "common/json_out.h"

static void skip_space(struct bytes *text)
{
    while (text->len > 0 && (text->at[0] == ' ' || text->at[0] == '\t' || text->at[0] == '\n' ||
                             text->at[0] == '\r')) {
        text->at++;
        text->len--;
    }
}

static bool take_char(struct bytes *text, char c)
{
    if (text->len == 0 || text->at[0] != (uint8_t)c)
        return false;
    text->at++;
    text->len--;
    return true;
}

/* The first n bytes. */
static struct bytes cut(struct bytes *text, size_t n)
{
    struct bytes front = bytes_of(text->at, n);

    text->at += n;
    text->len -= n;
    return front;
}

/* Bytes of the string that text begins with, quotes included; 0 when it does not end. */
static size_t string_size(struct bytes text, bool *escaped)
{
    *escaped = false;
    for (size_t i = 1; i < text.len; i++) {
        if (text.at[i] == '\\') {
            *escaped = true;
            i++;
        } else if (text.at[i] == text.at[0]) {
            return i + 1;
        }
    }
    return 0;
}

/* Bytes of the object or array that text begins with; 0 when it is not balanced. */
static size_t nest_size(struct bytes text)
{
    char closes[JSON_DEPTH_MAX];
    size_t depth = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.at[i];

        if (c == '"' || c == '\'') {
            bool escaped;
            size_t size = string_size(bytes_of(text.at + i, text.len - i), &escaped);

            if (size == 0)
                return 0;
            i += size - 1;
        } else if (c == '{' || c == '[') {
            if (depth == JSON_DEPTH_MAX)
                return 0;
            closes[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (closes[depth - 1] != c)
                return 0;
            if (--depth == 0)
                return i + 1;
        }
    }
    return 0;
}

/* Bytes of a number or word: up to what may follow a value. */
static size_t word_size(struct bytes text)
{
    size_t n = 0;

    while (n < text.len && text.at[n] > ' ' && !strchr(",:{}[]\"'", text.at[n]))
        n++;
    return n;
}

static size_t value_size(struct bytes text)
{
    bool escaped;

    if (text.len == 0)
        return 0;
    if (text.at[0] == '"' || text.at[0] == '\'')
        return string_size(text, &escaped);
    if (text.at[0] == '{' || text.at[0] == '[')
        return nest_size(text);
    return word_size(text);
}

void json_members_begin(struct json_members *m, struct bytes text)
{
    *m = (struct json_members){.left = text, .first = true};
    skip_space(&m->left);
    if (!take_char(&m->left, '{'))
        m->wrong = "expected an object";
}

static bool stop(struct json_members *m, const char *wrong)
{
    m->wrong = wrong;
    return false;
}

static bool take_key(struct json_members *m, struct json_member *out)
{
    size_t size;

    out->key_escaped = false;
    if (m->left.len > 0 && (m->left.at[0] == '"' || m->left.at[0] == '\'')) {
        size = string_size(m->left, &out->key_escaped);
        if (size == 0)
            return stop(m, "a key has no end");
        out->key = cut(&m->left, size);
        out->key = bytes_of(out->key.at + 1, out->key.len - 2);
        return true;
    }
    size = word_size(m->left);
    if (size == 0)
        return stop(m, "expected a key");
    out->key = cut(&m->left, size);
    return true;
}

bool json_members_next(struct json_members *m, struct json_member *out)
{
    size_t size;

    if (m->wrong)
        return false;
    skip_space(&m->left);
    if (take_char(&m->left, '}')) {
        skip_space(&m->left);
        return stop(m, m->left.len > 0 ? "something follows the object" : NULL);
    }
    if (!m->first) {
        if (!take_char(&m->left, ','))
            return stop(m, "expected a comma or the end of the object");
        skip_space(&m->left);
    }
    m->first = false;
    if (!take_key(m, out))
        return false;
    skip_space(&m->left);
    if (!take_char(&m->left, ':'))
        return stop(m, "expected a colon after a key");
    skip_space(&m->left);
    size = value_size(m->left);
    if (size == 0)
        return stop(m, "a value is missing, has no end, or is nested too deeply");
    out->value = cut(&m->left, size);
    return true;
}
