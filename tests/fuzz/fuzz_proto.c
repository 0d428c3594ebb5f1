/* Any bytes as a message of the gRPC API: refused, or read, packed and read again as the same. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "service.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void pack_and_compare(const ProtobufCMessage *msg)
{
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *packed = malloc(len + 1), *second = malloc(len + 1);
    ProtobufCMessage *again;

    assert(packed != NULL && second != NULL);
    assert(protobuf_c_message_pack(msg, packed) == len);
    /* NULL is for one oddity of protobuf-c: it keeps an unknown field of number 0 when the tag is a
     * needlessly long varint, and refuses the short one that it writes for it. */
    again = protobuf_c_message_unpack(msg->descriptor, NULL, len, packed);
    if (again != NULL) {
        assert(protobuf_c_message_get_packed_size(again) == len);
        assert(protobuf_c_message_pack(again, second) == len);
        assert(memcmp(packed, second, len) == 0);
        protobuf_c_message_free_unpacked(again, NULL);
    }
    free(packed);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &apache__rocketmq__v2__telemetry_command__descriptor,
        &apache__rocketmq__v2__send_message_request__descriptor,
        &apache__rocketmq__v2__query_route_response__descriptor,
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        ProtobufCMessage *msg = protobuf_c_message_unpack(types[i], NULL, size, data);

        if (msg == NULL)
            continue;
        pack_and_compare(msg);
        protobuf_c_message_free_unpacked(msg, NULL);
    }
    return 0;
}
