/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses to and from the form in which they cross to JavaScript; IPv4-mapped IPv6 becomes IPv4. */
#ifndef OVPND_ADDRESS_H
#define OVPND_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "shim.h"

/* Copies an address of 4 or 16 bytes, shortening a mapped one; returns its length. */
size_t address_put(uint8_t *out, const void *ip, size_t length);
/* Writes remote address, port and scope into a SHIM_ADDRESS_LENGTH block (own address: none). */
void address_store(uint8_t *block, const struct sockaddr_storage *from);
/*
 * Fills `to` for a socket of `family`, mapping IPv4 when that is AF_INET6; returns its length or -EINVAL
 * when the address does not fit the family, the port or the scope its range.
 */
int address_load(struct sockaddr_storage *to, int family, const uint8_t *ip, size_t length, int64_t port,
		 int64_t scope);
/* An IPv4 address of 4 bytes as an IPv4-mapped IPv6 address. */
void address_map(struct in6_addr *out, const uint8_t *ip);

#endif
