/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before QuickJS's libregexp.c: compiled regular expressions are little-endian everywhere, as the bytecode
 * around them is, so that a bundle compiled on the build machine runs on a big-endian router.
 */
#include <endian.h>

#include "cutils.h"

static inline uint32_t regexp_get_u16(const uint8_t *at)
{
	return le16toh(get_u16(at));
}

static inline uint32_t regexp_get_u32(const uint8_t *at)
{
	return le32toh(get_u32(at));
}

/* Of newer releases. */
static inline __attribute__((unused)) void regexp_put_u16(uint8_t *at, uint16_t value)
{
	put_u16(at, htole16(value));
}

static inline void regexp_put_u32(uint8_t *at, uint32_t value)
{
	put_u32(at, htole32(value));
}

static inline int regexp_dbuf_put_u16(DynBuf *buffer, uint16_t value)
{
	return dbuf_put_u16(buffer, htole16(value));
}

static inline int regexp_dbuf_put_u32(DynBuf *buffer, uint32_t value)
{
	return dbuf_put_u32(buffer, htole32(value));
}

#define get_u16 regexp_get_u16
#define get_u32 regexp_get_u32
#define put_u16 regexp_put_u16
#define put_u32 regexp_put_u32
#define dbuf_put_u16 regexp_dbuf_put_u16
#define dbuf_put_u32 regexp_dbuf_put_u32
