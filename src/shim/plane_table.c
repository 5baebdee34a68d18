/* SPDX-License-Identifier: Apache-2.0 */
/* Peers, and which peer an address belongs to: exact VPN addresses, then the longest network. */
#include <stdlib.h>
#include <string.h>

#include "plane.h"

#define ROUTE_LENGTH 18

static uint32_t mix(uint32_t hash, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash ^ hash >> 15;
}

static uint32_t bucket_of_path(const struct plane_path *path)
{
	return mix(2166136261u ^ (uint32_t)path->socket, path->block + 2, 22) % BUCKETS;
}

static uint32_t bucket_of_route(const uint8_t *ip, int length, int bits)
{
	return mix(2166136261u ^ (uint32_t)(length << 8 | bits), ip, length) % BUCKETS;
}

bool plane_same_remote(const struct plane_path *a, const struct plane_path *b)
{
	return a->socket == b->socket && a->block[0] == b->block[0] && memcmp(a->block + 2, b->block + 2, 22) == 0;
}

struct peer *plane_find(struct plane *plane, uint32_t peer_id)
{
	struct peer *peer = plane->by_id[peer_id % BUCKETS];

	while (peer && peer->peer_id != peer_id)
		peer = peer->next_by_id;
	return peer;
}

struct peer *plane_find_by_path(struct plane *plane, const struct plane_path *path)
{
	struct peer *peer = plane->by_path[bucket_of_path(path)];

	while (peer && !plane_same_remote(&peer->path, path))
		peer = peer->next_by_path;
	return peer;
}

static void unplace(struct plane *plane, struct peer *peer)
{
	struct peer **at = &plane->by_path[peer->path_bucket];

	while (*at && *at != peer)
		at = &(*at)->next_by_path;
	if (*at)
		*at = peer->next_by_path;
	peer->next_by_path = NULL;
}

void plane_place(struct plane *plane, struct peer *peer, const struct plane_path *path, bool first)
{
	struct peer **at;

	/* Another path, another MTU. */
	plane->run_size_max = UINT16_MAX;
	unplace(plane, peer);
	if (path != &peer->path)
		peer->path = *path;
	peer->path_bucket = bucket_of_path(path);
	at = &plane->by_path[peer->path_bucket];
	/* Who was there first stays the one found, or a float could cut it off. */
	while (!first && *at)
		at = &(*at)->next_by_path;
	peer->next_by_path = *at;
	*at = peer;
}

/* ---- addresses and networks */

static void mask(uint8_t *out, const uint8_t *ip, int length, int bits)
{
	for (int i = 0; i < length; i++) {
		int keep = bits - 8 * i;

		out[i] = keep >= 8 ? ip[i] : keep <= 0 ? 0 : ip[i] & (uint8_t)(0xff << (8 - keep));
	}
}

static struct route *find_route(struct plane *plane, const uint8_t *ip, int length, int bits)
{
	struct route *route = plane->routes[bucket_of_route(ip, length, bits)];

	while (route && !(route->family == length && route->bits == bits && memcmp(route->ip, ip, length) == 0))
		route = route->next;
	return route;
}

/* The bits of a peer's own address: it comes before any network, also one of all bits. */
static int own_bits(int length)
{
	return length * 8 + 1;
}

struct peer *plane_route(struct plane *plane, const uint8_t *ip, int length)
{
	const uint32_t *in_use = length == 4 ? plane->in_use4 : plane->in_use6;
	struct route *route = NULL;
	uint8_t masked[16];

	for (int bits = own_bits(length); !route && bits >= 0; bits--) {
		if (!in_use[bits])
			continue;
		mask(masked, ip, length, bits);
		route = find_route(plane, masked, length, bits);
	}
	return route ? route->peer : NULL;
}

static int add_route(struct plane *plane, struct peer *peer, const uint8_t *ip, int length, int bits)
{
	struct route *route = calloc(1, sizeof(*route)), **bucket;

	if (!route)
		return -ENOMEM;
	mask(route->ip, ip, length, bits);
	route->peer = peer;
	route->family = length;
	route->bits = bits;
	bucket = &plane->routes[bucket_of_route(route->ip, length, bits)];
	route->next = *bucket;
	*bucket = route;
	(length == 4 ? plane->in_use4 : plane->in_use6)[bits]++;
	return 0;
}

/* The addresses of a peer, or the networks behind it. */
static void remove_routes(struct plane *plane, struct peer *peer, bool own)
{
	for (int i = 0; i < BUCKETS; i++) {
		for (struct route **at = &plane->routes[i], *route; (route = *at);) {
			if (route->peer != peer || (route->bits == own_bits(route->family)) != own) {
				at = &route->next;
				continue;
			}
			(route->family == 4 ? plane->in_use4 : plane->in_use6)[route->bits]--;
			*at = route->next;
			free(route);
		}
	}
}

static int set_address(struct plane *plane, struct peer *peer, const uint8_t *ip, int length)
{
	return plane_is_none(ip, length) ? 0 : add_route(plane, peer, ip, length, own_bits(length));
}

static bool is_taken(struct plane *plane, const struct peer *peer, const uint8_t *ip, int length)
{
	struct route *route = ip ? find_route(plane, ip, length, own_bits(length)) : NULL;

	return route && route->peer != peer;
}

int plane_set_addresses(struct plane *plane, struct peer *peer, const uint8_t *vpn4, const uint8_t *vpn6)
{
	int status;

	if (is_taken(plane, peer, vpn4, 4) || is_taken(plane, peer, vpn6, 16))
		return -EADDRINUSE;
	/* A peer among many always has an address. */
	if (plane->is_mp && plane_is_none(vpn4 ? vpn4 : peer->vpn4, 4) && plane_is_none(vpn6 ? vpn6 : peer->vpn6, 16))
		return -EINVAL;
	remove_routes(plane, peer, true);
	if (vpn4)
		memcpy(peer->vpn4, vpn4, 4);
	if (vpn6)
		memcpy(peer->vpn6, vpn6, 16);
	status = set_address(plane, peer, peer->vpn4, 4);
	return status < 0 ? status : set_address(plane, peer, peer->vpn6, 16);
}

int plane_set_routes(struct plane *plane, struct peer *peer, const uint8_t *routes, size_t length)
{
	int status = 0;

	remove_routes(plane, peer, false);
	for (size_t at = 0; at + ROUTE_LENGTH <= length && status == 0; at += ROUTE_LENGTH) {
		int family = routes[at], bits = routes[at + 1];

		if ((family != 4 && family != 16) || bits > family * 8)
			return -EINVAL;
		status = add_route(plane, peer, routes + at + 2, family, bits);
	}
	return status;
}

/* ---- peers */

int plane_add_peer(struct plane *plane, struct peer *peer, const uint8_t *vpn4, const uint8_t *vpn6, const uint8_t *routes,
		   size_t length)
{
	struct peer **end = &plane->peers;
	int status;

	if (plane->is_mp && plane_find(plane, peer->peer_id))
		return -EEXIST;
	if (plane->is_mp && plane->peer_count >= plane->peers_max)
		return -ENOSPC;
	status = plane_set_addresses(plane, peer, vpn4, vpn6);
	if (status == 0)
		status = plane_set_routes(plane, peer, routes, length);
	if (status < 0) {
		remove_routes(plane, peer, true);
		remove_routes(plane, peer, false);
		return status;
	}
	/* In the order they came, as status and keepalive go through them. */
	while (*end)
		end = &(*end)->next;
	*end = peer;
	plane->peer_count++;
	peer->next_by_id = plane->by_id[peer->peer_id % BUCKETS];
	plane->by_id[peer->peer_id % BUCKETS] = peer;
	plane_place(plane, peer, &peer->path, true);
	return 0;
}

void plane_remove_peer(struct plane *plane, struct peer *peer)
{
	struct peer **at = &plane->peers;

	while (*at && *at != peer)
		at = &(*at)->next;
	if (*at)
		*at = peer->next;
	at = &plane->by_id[peer->peer_id % BUCKETS];
	while (*at && *at != peer)
		at = &(*at)->next_by_id;
	if (*at)
		*at = peer->next_by_id;
	unplace(plane, peer);
	remove_routes(plane, peer, true);
	remove_routes(plane, peer, false);
	key_free(peer->primary);
	key_free(peer->secondary);
	plane->peer_count--;
	free(peer);
}
