/* test_api.c - the service, messages, fields and enums that protobuf-c made are those of the API.
 *
 * api_table.h says them once more; a field alone, written by hand, comes through unchanged.
 */
#include <stdbool.h>
#include <stdio.h>

#include "api_table.h"
#include "service.pb-c.h"
#include "unit.h"
#include "wire.h"

/* More than the API has. */
enum { MESSAGES_MAX = 128 };

/* All message types that the service reaches, found by walking from its methods. */
struct api {
    const ProtobufCMessageDescriptor *messages[MESSAGES_MAX];
    size_t n_messages;
};

static void api_add(struct api *api, const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < api->n_messages; i++) {
        if (api->messages[i] == type)
            return;
    }
    ck_assert_uint_lt(api->n_messages, MESSAGES_MAX);
    api->messages[api->n_messages++] = type;
}

static void api_walk(struct api *api)
{
    const ProtobufCServiceDescriptor *s = &apache__rocketmq__v2__messaging_service__descriptor;

    api->n_messages = 0;
    for (unsigned i = 0; i < s->n_methods; i++) {
        api_add(api, s->methods[i].input);
        api_add(api, s->methods[i].output);
    }
    for (size_t i = 0; i < api->n_messages; i++) {
        for (unsigned f = 0; f < api->messages[i]->n_fields; f++) {
            if (api->messages[i]->fields[f].type == PROTOBUF_C_TYPE_MESSAGE)
                api_add(api, api->messages[i]->fields[f].descriptor);
        }
    }
}

static const ProtobufCMessageDescriptor *api_message(const struct api *api, const char *name)
{
    for (size_t i = 0; i < api->n_messages; i++) {
        if (strcmp(api->messages[i]->short_name, name) == 0)
            return api->messages[i];
    }
    ck_abort_msg("no message %s", name);
    return NULL;
}

static const ProtobufCEnumDescriptor *api_enum(const struct api *api, const char *name)
{
    for (size_t i = 0; i < api->n_messages; i++) {
        for (unsigned f = 0; f < api->messages[i]->n_fields; f++) {
            const ProtobufCFieldDescriptor *field = &api->messages[i]->fields[f];
            const ProtobufCEnumDescriptor *type = field->descriptor;

            if (field->type == PROTOBUF_C_TYPE_ENUM && strcmp(type->short_name, name) == 0)
                return type;
        }
    }
    ck_abort_msg("no enum %s", name);
    return NULL;
}

/* One field of the table, taken apart. */
struct api_field {
    unsigned number;
    char name[64];
    char type[64];
    char oneof[64]; /* "" outside of one */
    bool repeated;
};

static struct api_field api_field(const char *text)
{
    struct api_field f = {.number = 0};
    char *mark;

    ck_assert_int_eq(sscanf(text, "%u %63s %63s", &f.number, f.name, f.type), 3);
    mark = strpbrk(f.type, "[?|");
    if (mark != NULL && *mark == '[')
        f.repeated = true;
    else if (mark != NULL && *mark == '?')
        snprintf(f.oneof, sizeof(f.oneof), "optional_%.50s", f.name);
    else if (mark != NULL)
        snprintf(f.oneof, sizeof(f.oneof), "%s", mark + 1);
    if (mark != NULL)
        *mark = '\0';
    return f;
}

/* The type of a field in the notation of the table. */
static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *inner = field->descriptor;
    const ProtobufCEnumDescriptor *values = field->descriptor;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return "int32";
    case PROTOBUF_C_TYPE_INT64:
        return "int64";
    case PROTOBUF_C_TYPE_BOOL:
        return "bool";
    case PROTOBUF_C_TYPE_FLOAT:
        return "float";
    case PROTOBUF_C_TYPE_STRING:
        return "string";
    case PROTOBUF_C_TYPE_BYTES:
        return "bytes";
    case PROTOBUF_C_TYPE_ENUM:
        return values->short_name;
    case PROTOBUF_C_TYPE_MESSAGE:
        /* A map is a repeated message with a made-up name, key 1 and value 2. */
        return strstr(inner->short_name, "PropertiesEntry") != NULL ? "map" : inner->short_name;
    default:
        return "?";
    }
}

START_TEST(api_has_the_messages_and_fields_of_the_table_and_no_others)
{
    struct api api;
    size_t maps = 0;

    api_walk(&api);
    for (size_t i = 0; i < api.n_messages; i++)
        maps += strstr(api.messages[i]->short_name, "PropertiesEntry") != NULL;
    ck_assert_uint_eq(maps, 2);
    ck_assert_uint_eq(api.n_messages - maps, COUNT(api_messages));

    for (size_t i = 0; i < COUNT(api_messages); i++) {
        const ProtobufCMessageDescriptor *type = api_message(&api, api_messages[i].name);
        unsigned n = 0;

        for (; api_messages[i].fields[n] != NULL; n++) {
            struct api_field want = api_field(api_messages[i].fields[n]);
            const ProtobufCFieldDescriptor *got =
                protobuf_c_message_descriptor_get_field(type, want.number);

            ck_assert_msg(got != NULL, "%s has no field %u", type->short_name, want.number);
            ck_assert_str_eq(got->name, want.name);
            ck_assert_str_eq(type_name(got), want.type);
            ck_assert_int_eq(got->label == PROTOBUF_C_LABEL_REPEATED,
                             want.repeated || strcmp(want.type, "map") == 0);
            ck_assert_int_eq((got->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0,
                             want.oneof[0] != '\0');
        }
        ck_assert_msg(type->n_fields == n, "%s has %u fields", type->short_name, type->n_fields);
    }
}
END_TEST

/* The bytes of one field alone: zero where presence is its own, something else where it is not. */
static struct wire field_alone(const struct api_field *f, const ProtobufCFieldDescriptor *got)
{
    struct wire w = {.len = 0}, pair = texts("k", "v");
    bool own_presence = f->oneof[0] != '\0';

    switch (got->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        if (strcmp(f->type, "map") == 0)
            put_message(&w, f->number, &pair);
        else
            put_text(&w, f->number, "");
        break;
    case PROTOBUF_C_TYPE_STRING:
        put_text(&w, f->number, own_presence ? "" : "x");
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_text(&w, f->number, "b");
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        put_float(&w, f->number, 0x40000000);
        break;
    default:
        if (f->repeated)
            put_data(&w, f->number, "\1\2", 2); /* packed */
        else
            put_int(&w, f->number, own_presence ? 0 : 1);
    }
    if (f->repeated && got->type != PROTOBUF_C_TYPE_ENUM)
        put_text(&w, f->number, "");
    return w;
}

START_TEST(every_field_alone_keeps_its_bytes)
{
    struct api api;

    api_walk(&api);
    for (size_t i = 0; i < COUNT(api_messages); i++) {
        const ProtobufCMessageDescriptor *type = api_message(&api, api_messages[i].name);

        for (unsigned n = 0; api_messages[i].fields[n] != NULL; n++) {
            struct api_field f = api_field(api_messages[i].fields[n]);
            struct wire w =
                field_alone(&f, protobuf_c_message_descriptor_get_field(type, f.number));
            ProtobufCMessage *msg = round_trip(type, &w);

            ck_assert_uint_eq(msg->n_unknown_fields, 0);
            protobuf_c_message_free_unpacked(msg, NULL);
        }
    }
}
END_TEST

START_TEST(message_without_bytes_has_no_field_and_packs_to_none)
{
    struct wire none = {.len = 0};
    struct api api;

    api_walk(&api);
    for (size_t i = 0; i < api.n_messages; i++)
        protobuf_c_message_free_unpacked(round_trip(api.messages[i], &none), NULL);
}
END_TEST

START_TEST(enum_values_have_their_numbers_by_name)
{
    struct api api;
    unsigned n = 0;

    api_walk(&api);
    for (size_t i = 0; i < COUNT(api_enum_values); i++) {
        const struct api_enum_value *want = &api_enum_values[i];
        const ProtobufCEnumDescriptor *type = api_enum(&api, want->type);
        const ProtobufCEnumValue *got =
            protobuf_c_enum_descriptor_get_value_by_name(type, want->name);

        ck_assert_msg(got != NULL, "%s has no %s", want->type, want->name);
        ck_assert_int_eq(got->value, want->number);
        /* No value beyond those of the table, looked at where the rows of an enum end. */
        n++;
        if (i + 1 == COUNT(api_enum_values) || strcmp(want->type, want[1].type) != 0) {
            ck_assert_msg(type->n_value_names == n, "%s has %u values", type->short_name,
                          type->n_value_names);
            n = 0;
        }
    }
}
END_TEST

/* protobuf-c drops the word "stream", hence the look into the file. */
START_TEST(service_has_the_methods_of_the_table_with_their_streams)
{
    const ProtobufCServiceDescriptor *s = &apache__rocketmq__v2__messaging_service__descriptor;
    char text[16384], flat[16384];
    size_t len, n = 0;
    FILE *file = fopen(TERN_SERVICE_PROTO, "r");

    ck_assert_ptr_nonnull(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    /* One line: runs of white space become one blank. */
    for (size_t i = 0; i < len; i++) {
        char c = text[i] == '\n' ? ' ' : text[i];

        if (c != ' ' || (n > 0 && flat[n - 1] != ' '))
            flat[n++] = c;
    }
    flat[n] = '\0';

    ck_assert_str_eq(s->name, "apache.rocketmq.v2.MessagingService");
    ck_assert_uint_eq(s->n_methods, COUNT(api_methods));
    for (size_t i = 0; i < COUNT(api_methods); i++) {
        char line[256], name[64];

        ck_assert_int_eq(sscanf(api_methods[i], "%63[^(]", name), 1);
        ck_assert_ptr_nonnull(protobuf_c_service_descriptor_get_method_by_name(s, name));
        snprintf(line, sizeof(line), "rpc %s;", api_methods[i]);
        ck_assert_msg(strstr(flat, line) != NULL, "not in service.proto: %s", line);
    }
}
END_TEST

static Suite *api_suite(void)
{
    Suite *suite = suite_create("api");
    TCase *tcase = tcase_create("table");

    tcase_add_test(tcase, api_has_the_messages_and_fields_of_the_table_and_no_others);
    tcase_add_test(tcase, every_field_alone_keeps_its_bytes);
    tcase_add_test(tcase, message_without_bytes_has_no_field_and_packs_to_none);
    tcase_add_test(tcase, enum_values_have_their_numbers_by_name);
    tcase_add_test(tcase, service_has_the_methods_of_the_table_with_their_streams);
    suite_add_tcase(suite, tcase);
    return suite;
}

UNIT_MAIN(api_suite)
