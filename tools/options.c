/* options.c - see options.h. */
#include "tools/options.h"

#include <errno.h>
#include <stdio.h>

enum { WORD_MAX = 40, NEAR_ENOUGH = 2 };

unsigned options_distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > WORD_MAX || b_len > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}

static const struct option_spec *find_name(const struct option_spec *specs, size_t count,
                                           struct bytes name)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_is(name, specs[i].name))
            return &specs[i];
    }
    return NULL;
}

static const struct option_spec *find_letter(const struct option_spec *specs, size_t count,
                                             char letter)
{
    for (size_t i = 0; i < count; i++) {
        if (specs[i].letter == letter)
            return &specs[i];
    }
    return NULL;
}

static int unknown_name(const struct option_spec *specs, size_t count, const char *arg,
                        struct bytes name, struct err *err)
{
    const char *near = NULL;
    unsigned best = NEAR_ENOUGH + 1;
    char word[WORD_MAX];

    for (size_t i = 0; i < count && bytes_to_cstr(name, word, sizeof(word)); i++) {
        unsigned distance = options_distance(word, specs[i].name);
        if (distance < best) {
            best = distance;
            near = specs[i].name;
        }
    }
    if (near)
        return err_say(err, -EINVAL, "unknown option %s; did you mean --%s?", arg, near);
    return err_say(err, -EINVAL, "unknown option %s", arg);
}

/* "1.25" seconds as 1250 ms; at most three digits after the point count. */
static bool parse_millis(const char *text, int64_t *out)
{
    const char *point = strchr(text, '.');
    struct bytes whole = bytes_of(text, point ? (size_t)(point - text) : strlen(text));
    int64_t seconds = 0, fraction = 0, unit = 100;

    if (text[0] == '-' || text[0] == '+' || (whole.len && !bytes_to_i64(whole, &seconds)) ||
        seconds > INT64_MAX / 1000 - 1 || (whole.len == 0 && (!point || point[1] == '\0')))
        return false;
    for (const char *at = point ? point + 1 : ""; *at; at++) {
        if (*at < '0' || *at > '9')
            return false;
        fraction += (*at - '0') * unit;
        unit /= 10;
    }
    *out = seconds * 1000 + fraction;
    return true;
}

static int store_number(const struct option_spec *spec, const char *value, struct err *err)
{
    bool millis = spec->kind == OPTION_MILLIS;
    int64_t number;

    if ((millis ? parse_millis(value, &number) : bytes_to_i64(bytes_str(value), &number)) &&
        number >= spec->min && number <= spec->max) {
        *(int64_t *)spec->to = number;
        return 0;
    }
    if (millis)
        return err_say(err, -EINVAL, "--%s %s: expected seconds, %g to %g", spec->name, value,
                       (double)spec->min / 1000, (double)spec->max / 1000);
    return err_say(err, -EINVAL, "--%s %s: expected a number, %lld to %lld", spec->name, value,
                   (long long)spec->min, (long long)spec->max);
}

static int store(const struct option_spec *spec, const char *value, struct err *err)
{
    struct option_list *list;

    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->to = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)spec->to = value;
        return 0;
    case OPTION_LIST:
        list = spec->to;
        if (list->count == OPTION_LIST_MAX)
            return err_say(err, -EINVAL, "--%s: given more than %d times", spec->name,
                           OPTION_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    case OPTION_NUMBER:
    case OPTION_MILLIS:
        break;
    }
    return store_number(spec, value, err);
}

int options_parse(const struct option_spec *specs, size_t count, int argc, char **argv,
                  bool stop_at_operand, int *operands, struct err *err)
{
    bool only_operands = false;
    int kept = 0;

    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        const struct option_spec *spec;
        const char *value = NULL;
        int r;

        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            if (stop_at_operand) {
                memmove(argv, argv + i, (size_t)(argc - i) * sizeof(*argv));
                *operands = argc - i;
                return 0;
            }
            argv[kept++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (arg[1] == '-') {
            const char *name = arg + 2;
            const char *equals = strchr(name, '=');
            struct bytes word = bytes_of(name, equals ? (size_t)(equals - name) : strlen(name));

            spec = find_name(specs, count, word);
            if (!spec)
                return unknown_name(specs, count, arg, word, err);
            value = equals ? equals + 1 : NULL;
        } else {
            spec = find_letter(specs, count, arg[1]);
            if (!spec || (spec->kind == OPTION_FLAG && arg[2] != '\0'))
                return err_say(err, -EINVAL, "unknown option %s", arg);
            value = arg[2] != '\0' ? arg + 2 : NULL;
        }
        if (spec->kind == OPTION_FLAG && value)
            return err_say(err, -EINVAL, "--%s takes no value", spec->name);
        if (spec->kind != OPTION_FLAG && !value) {
            if (i + 1 == argc)
                return err_say(err, -EINVAL, "%s needs a value (%s)", arg, spec->value);
            value = argv[++i];
        }
        r = store(spec, value, err);
        if (r < 0)
            return r;
    }
    *operands = kept;
    return 0;
}

static int left_side(const struct option_spec *spec, char *to, size_t size)
{
    char letter[8] = "    ";

    if (spec->letter)
        snprintf(letter, sizeof(letter), "-%c, ", spec->letter);
    return snprintf(to, size, "%s--%s%s%s", letter, spec->name, spec->value ? " " : "",
                    spec->value ? spec->value : "");
}

void options_help(const struct option_spec *specs, size_t count, struct buf *out)
{
    char text[96];
    int width = 0;

    for (size_t i = 0; i < count; i++) {
        int len = left_side(&specs[i], text, sizeof(text));
        if (len > width)
            width = len;
    }
    for (size_t i = 0; i < count; i++) {
        left_side(&specs[i], text, sizeof(text));
        buf_addf(out, "  %-*s  %s\n", width, text, specs[i].help);
    }
}
