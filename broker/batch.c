/* batch.c - see batch.h. */
#include "broker/batch.h"

int batch_next(struct reader *in, struct batch_message *out)
{
    size_t left = reader_left(in);
    uint32_t total;

    if (in->bad)
        return BATCH_BAD;
    if (left == 0)
        return BATCH_END;
    total = reader_u32(in);
    reader_u32(in); /* magic */
    reader_u32(in); /* CRC of the body */
    out->flag = (int32_t)reader_u32(in);
    out->body = reader_take(in, reader_u32(in));
    out->properties = reader_take(in, reader_u16(in));
    if (in->bad || left - reader_left(in) != total) {
        in->bad = true;
        return BATCH_BAD;
    }
    return 0;
}
