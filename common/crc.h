/* crc.h - CRC-32 (zlib polynomial), the only checksum of the formats we share with RocketMQ. */
#ifndef TERN_COMMON_CRC_H
#define TERN_COMMON_CRC_H

#include "common/bytes.h"

uint32_t crc32_of(uint32_t start, struct bytes data); /* start 0 for a fresh sum; chains */
/* Masked to 31 bits, as every stored field of RocketMQ has it. */
static inline uint32_t crc31_of(struct bytes data)
{
    return crc32_of(0, data) & 0x7FFFFFFFu;
}

#endif
