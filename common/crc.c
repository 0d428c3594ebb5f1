/* crc.c - see crc.h. libdeflate uses the carry-less multiply where the machine has it. */
#include "common/crc.h"

#include <libdeflate.h>

uint32_t crc32_of(uint32_t start, struct bytes data)
{
    /* libdeflate takes a NULL pointer as "give me the initial value". */
    return data.len ? libdeflate_crc32(start, data.at, data.len) : start;
}
