/* SPDX-License-Identifier: Apache-2.0 */
#include "address.h"

#include <arpa/inet.h>
#include <string.h>

size_t address_put(uint8_t *out, const void *ip, size_t length)
{
	if (length == 16 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)ip)) {
		memcpy(out, (const uint8_t *)ip + 12, 4);
		return 4;
	}
	memcpy(out, ip, length);
	return length;
}

void address_map(struct in6_addr *out, const uint8_t *ip)
{
	memset(out, 0, sizeof(*out));
	memset(&out->s6_addr[10], 0xff, 2);
	memcpy(&out->s6_addr[12], ip, 4);
}

void address_store(uint8_t *block, const struct sockaddr_storage *from)
{
	memset(block, 0, SHIM_ADDRESS_LENGTH);
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		block[0] = address_put(block + 8, &in->sin_addr, 4);
		memcpy(block + 2, &in->sin_port, 2);
	} else if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
		uint32_t scope = htonl(in6->sin6_scope_id);

		block[0] = address_put(block + 8, &in6->sin6_addr, 16);
		memcpy(block + 2, &in6->sin6_port, 2);
		memcpy(block + 4, &scope, 4);
	}
}

int address_load(struct sockaddr_storage *to, int family, const uint8_t *ip, size_t length, int64_t port,
		 int64_t scope)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
	struct sockaddr_in *in = (struct sockaddr_in *)to;

	if (port < 0 || port > UINT16_MAX || scope < 0 || scope > INT32_MAX)
		return -EINVAL;
	memset(to, 0, sizeof(*to));
	to->ss_family = family;
	if (family == AF_INET) {
		if (length != 4)
			return -EINVAL;
		memcpy(&in->sin_addr, ip, 4);
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	if (length == 4)
		address_map(&in6->sin6_addr, ip);
	else if (length == 16)
		memcpy(&in6->sin6_addr, ip, 16);
	else
		return -EINVAL;
	in6->sin6_port = htons(port);
	in6->sin6_scope_id = scope;
	return sizeof(*in6);
}
