/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet. A received one passes, in this order: key by key id, decryption, replay window, mark alive, float, protocol
 * check, reverse path check, delivery; each step that refuses it has a counter. src/plane/js.ts is the reference.
 *
 *   P_DATA_V2: [op|kid] peer-id(3) | packet id(4) | tag(16) | ciphertext    AAD = the first 8 bytes
 *   P_DATA_V1: [op|kid]            | packet id(4) | tag(16) | ciphertext    AAD = the packet id
 *   nonce = packet id(4) | nonce tail(8)
 */
#include <string.h>

#include "plane.h"

static const uint8_t PING[16] = { 0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb,
				  0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48 };
static const uint8_t OCC[16] = { 0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81,
				 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c };

void plane_drop(struct plane *plane, enum plane_drop reason)
{
	if (reason != DROP_NONE)
		plane->drops[reason]++;
}

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static void store32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = value >> (24 - 8 * i);
}

static void tell(struct plane *plane, enum plane_event type, const struct peer *peer, uint32_t value)
{
	uint32_t words[3] = { peer->peer_id, peer->serial, value };

	plane_tell(plane, type, words, sizeof(words), NULL, 0, true);
}

/* ---- replay */

static bool is_seen(const struct replay *replay, uint32_t id)
{
	return replay->seen[id % REPLAY_WINDOW / 32] & 1u << (id & 31);
}

/* The rules of src/plane/replay.ts. Only for packets whose tag was right. */
static bool replay_accept(struct replay *replay, uint32_t id, int64_t now)
{
	if (id == 0)
		return false;
	if (replay->expire_ms && now >= replay->expire_ms)
		replay->floor = replay->highest;
	if (id > replay->highest) {
		/* However far the jump: after a long outage the sender's ids are where they are. */
		if (id - replay->highest >= REPLAY_WINDOW)
			memset(replay->seen, 0, sizeof(replay->seen));
		else
			for (uint32_t i = replay->highest + 1; i != id + 1; i++)
				replay->seen[i % REPLAY_WINDOW / 32] &= ~(1u << (i & 31));
		replay->highest = id;
	} else if (id <= replay->floor || replay->highest - id >= REPLAY_WINDOW || is_seen(replay, id)) {
		return false;
	}
	replay->seen[id % REPLAY_WINDOW / 32] |= 1u << (id & 31);
	replay->expire_ms = now + REPLAY_EXPIRE_MS;
	return true;
}

/* ---- keys */

static bool is_expiring(const struct plane *plane, const struct data_key *key)
{
	uint64_t sent = key->next_id - 1;

	if (sent >= plane->soft_id)
		return true;
	return !key->is_chacha && (sent + key->seal_blocks >= plane->gcm_soft ||
				   key->replay.highest + key->open_blocks >= plane->gcm_soft);
}

/* Told once, of the primary key only: any other is on its way out already. */
static void warn(struct plane *plane, struct peer *peer, struct data_key *key)
{
	if (peer->primary != key || key->is_expiry_told || !is_expiring(plane, key))
		return;
	key->is_expiry_told = true;
	tell(plane, EVENT_EXPIRING, peer, key->key_id);
}

/* ---- inside a packet */

static int ip_version(const uint8_t *packet, size_t length)
{
	int nibble = length ? packet[0] >> 4 : 0;

	return nibble == 4 && length >= 20 ? 4 : nibble == 6 && length >= 40 ? 6 : 0;
}

static bool is_link_local(const uint8_t *ip, int version)
{
	return version == 6 && ip[0] == 0xfe && ip[1] >> 6 == 2;
}

static bool is_group(const uint8_t *ip, int version)
{
	if (version == 6)
		return ip[0] == 0xff;
	return ip[0] >> 4 == 0xe || load32(ip) == 0xffffffff;
}

/* Largest TCP payload that fits the outer packet size `mssfix`; 0: as it comes. */
static int segment_limit(const struct plane *plane, const struct peer *peer, int version)
{
	int outer = (peer->path.block[0] == 4 ? 20 : 40) + (peer->path.tcp ? 22 : 8);
	int data = (peer->is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2) + PACKET_ID_LENGTH + CRYPTO_TAG_LENGTH;
	int limit = plane->mssfix - outer - data - (version == 4 ? 20 : 40) - 20;

	return plane->mssfix == 0 ? 0 : limit < 48 ? 48 : limit;
}

/* ---- receiving */

static struct peer *sender_of(struct plane *plane, const struct plane_path *from, const uint8_t *datagram, bool is_v1)
{
	uint32_t peer_id = is_v1 ? PEER_ID_UNDEF : load32(datagram) & 0xffffff;
	struct peer *peer = peer_id == PEER_ID_UNDEF ? plane_find_by_path(plane, from) : plane_find(plane, peer_id);

	/* Who is on a connection stays on it, and nobody moves onto one. */
	if (peer && (from->tcp || peer->path.tcp) && !plane_same_remote(&peer->path, from))
		return NULL;
	return peer;
}

static void follow(struct plane *plane, struct peer *peer, const struct plane_path *from)
{
	if (plane_same_remote(&peer->path, from)) {
		if (from->block[1] && (peer->path.block[1] != from->block[1] ||
				       memcmp(peer->path.block + 24, from->block + 24, 16) != 0))
			peer->path = *from;
		return;
	}
	/* Who moves faster than anybody can hear of it stays where it was. */
	if (!plane_can_tell(plane))
		return;
	plane_place(plane, peer, from, false);
	plane_tell(plane, EVENT_FLOATED, (uint32_t[]){ peer->peer_id, peer->serial }, 8, from, PATH_LENGTH, true);
}

/* Protocol check, reverse path check, delivery. */
static enum plane_drop take(struct plane *plane, struct peer *peer, uint8_t *payload, size_t length)
{
	int version = ip_version(payload, length);
	const uint8_t *source = payload + (version == 4 ? 12 : 8), *to = payload + (version == 4 ? 16 : 24);
	struct peer *next;

	if (version == 0) {
		if (length == sizeof(PING) && memcmp(payload, PING, sizeof(PING)) == 0)
			return DROP_NONE;
		if (length <= sizeof(OCC) || memcmp(payload, OCC, sizeof(OCC)) != 0)
			return length == 0 ? DROP_EMPTY : DROP_PROTOCOL;
		plane_tell(plane, EVENT_INNER, &peer->peer_id, 4, payload, length, false);
		return DROP_NONE;
	}
	if (plane->is_mp && plane_route(plane, source, version == 4 ? 4 : 16) != peer)
		/* Every IPv6 host sends these when its interface comes up; they are no sign of spoofing. */
		return is_link_local(source, version) ? DROP_LINK_LOCAL : DROP_REVERSE_PATH;
	peer->counters[VPN_RX_BYTES] += length;
	peer->counters[VPN_RX_PACKETS]++;
	next = plane->client_to_client && !is_group(to, version) ? plane_route(plane, to, version == 4 ? 4 : 16) : NULL;
	if (next && next != peer) {
		if (plane->mssfix)
			packet_clamp(payload, length, segment_limit(plane, next, 4), segment_limit(plane, next, 6));
		next->counters[VPN_TX_BYTES] += length;
		next->counters[VPN_TX_PACKETS]++;
		return plane_transmit(plane, next, payload, length) ? DROP_NONE : DROP_NO_PEER_KEY;
	}
	if (plane->mssfix)
		packet_clamp(payload, length, segment_limit(plane, peer, 4), segment_limit(plane, peer, 6));
	plane_deliver(plane, payload, length);
	return DROP_NONE;
}

static enum plane_drop receive(struct plane *plane, const struct plane_path *from, uint8_t *datagram, size_t length)
{
	uint8_t opcode = length ? datagram[0] >> 3 : 0, nonce[CRYPTO_NONCE_LENGTH], *id, *text;
	bool is_v1 = opcode == P_DATA_V1;
	size_t header = is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2;
	struct data_key *key;
	struct peer *peer;

	if (length == 0)
		return DROP_SHORT;
	if (opcode != P_DATA_V1 && opcode != P_DATA_V2)
		return DROP_OPCODE;
	if (length < header + PACKET_ID_LENGTH + CRYPTO_TAG_LENGTH)
		return DROP_SHORT;
	peer = sender_of(plane, from, datagram, is_v1);
	if (!peer)
		return DROP_UNKNOWN_PEER;
	peer->counters[LINK_RX_BYTES] += length;
	peer->counters[LINK_RX_PACKETS]++;
	key = peer->primary;
	if (!key || key->key_id != (datagram[0] & 7))
		key = peer->secondary;
	if (!key || key->key_id != (datagram[0] & 7))
		return DROP_NO_KEY;
	id = datagram + header;
	text = id + PACKET_ID_LENGTH + CRYPTO_TAG_LENGTH;
	length -= text - datagram;
	memcpy(nonce, id, PACKET_ID_LENGTH);
	memcpy(nonce + PACKET_ID_LENGTH, key->open_tail, sizeof(key->open_tail));
	/* P_DATA_V1 leaves its opcode byte unauthenticated. */
	if (crypto_aead_open(key->open, nonce, is_v1 ? id : datagram, is_v1 ? PACKET_ID_LENGTH : header + PACKET_ID_LENGTH,
			     text, length, id + PACKET_ID_LENGTH, text) < 0)
		return DROP_AUTH;
	key->open_blocks += (length + 15) / 16;
	if (!replay_accept(&key->replay, load32(id), plane->now))
		return DROP_REPLAY;
	peer->last_alive_ms = plane->now;
	follow(plane, peer, from);
	warn(plane, peer, key);
	return take(plane, peer, text, length);
}

void plane_receive(struct plane *plane, const struct plane_path *from, uint8_t *datagram, size_t length)
{
	plane_drop(plane, receive(plane, from, datagram, length));
}

/* ---- sending */

bool plane_transmit(struct plane *plane, struct peer *peer, const uint8_t *payload, size_t length)
{
	struct data_key *key = peer->primary;
	size_t header = peer->is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2, total = header + PACKET_ID_LENGTH + CRYPTO_TAG_LENGTH + length;
	uint8_t nonce[CRYPTO_NONCE_LENGTH], *out, *id;

	if (!key)
		return false;
	if (key->next_id > PACKET_ID_MAX) {
		/* The secondary is not promoted: it may be the old key, which the other end is about to forget. */
		uint8_t key_id = key->key_id;

		peer->primary = NULL;
		plane_free_key(key);
		tell(plane, EVENT_EXHAUSTED, peer, key_id);
		return false;
	}
	out = send_reserve(plane, &peer->path, total);
	if (!out)
		return true;
	out[0] = (peer->is_v1 ? P_DATA_V1 : P_DATA_V2) << 3 | key->key_id;
	if (!peer->is_v1) {
		out[1] = peer->tx_id >> 16;
		out[2] = peer->tx_id >> 8;
		out[3] = peer->tx_id;
	}
	id = out + header;
	/* Counted before it is used: whatever happens below, this id never comes again. */
	store32(id, key->next_id++);
	key->seal_blocks += (length + 15) / 16;
	memcpy(nonce, id, PACKET_ID_LENGTH);
	memcpy(nonce + PACKET_ID_LENGTH, key->seal_tail, sizeof(key->seal_tail));
	if (crypto_aead_seal(key->seal, nonce, peer->is_v1 ? id : out, peer->is_v1 ? PACKET_ID_LENGTH : header + PACKET_ID_LENGTH,
			     payload, length, id + PACKET_ID_LENGTH + CRYPTO_TAG_LENGTH, id + PACKET_ID_LENGTH) < 0) {
		plane_drop(plane, DROP_SEND);
		return true;
	}
	send_commit(plane, &peer->path, total);
	peer->last_sent_ms = plane->now;
	peer->counters[LINK_TX_BYTES] += total;
	peer->counters[LINK_TX_PACKETS]++;
	warn(plane, peer, key);
	return true;
}

struct peer *plane_next_hop(struct plane *plane, const uint8_t *packet, size_t length)
{
	int version = ip_version(packet, length);
	const uint8_t *from = packet + (version == 4 ? 12 : 8), *to = packet + (version == 4 ? 16 : 24);
	struct peer *peer = plane->peers;

	if (version == 0) {
		plane_drop(plane, DROP_NOT_IP);
		return NULL;
	}
	if (!plane->is_mp) {
		if (!peer)
			plane_drop(plane, DROP_NO_PEER);
		return peer;
	}
	/* Groups: not even to a peer that has the default route. */
	peer = is_group(to, version) ? NULL : plane_route(plane, to, version == 4 ? 4 : 16);
	if (!peer)
		plane_drop(plane, is_link_local(from, version) ? DROP_LINK_LOCAL :
				  is_group(to, version)	       ? DROP_GROUP :
								 DROP_NO_ROUTE);
	return peer;
}

void plane_from_tun(struct plane *plane, uint8_t *frame, size_t length)
{
	struct segments segments;
	struct peer *peer;
	uint8_t *packet;
	int limit4, limit6;

	if (length < TUN_HEADER_LENGTH) {
		plane_drop(plane, DROP_OFFLOAD);
		return;
	}
	/* Once for a whole super-packet. */
	peer = plane_next_hop(plane, frame + TUN_HEADER_LENGTH, length - TUN_HEADER_LENGTH);
	if (!peer)
		return;
	limit4 = segment_limit(plane, peer, 4);
	limit6 = segment_limit(plane, peer, 6);
	if (!segments_begin(&segments, frame, length, limit4, limit6)) {
		plane_drop(plane, DROP_OFFLOAD);
		return;
	}
	while ((packet = segments_next(&segments, &length))) {
		if (plane->mssfix)
			packet_clamp(packet, length, limit4, limit6);
		/* Counted before there is a key, as the kernel does. */
		peer->counters[VPN_TX_BYTES] += length;
		peer->counters[VPN_TX_PACKETS]++;
		if (!plane_transmit(plane, peer, packet, length))
			plane_drop(plane, DROP_NO_PEER_KEY);
	}
}

/* ---- keepalive */

/* The next ping or expiry; one time alone is off, too. */
static int64_t due_of(const struct peer *peer)
{
	int64_t ping = peer->last_sent_ms + peer->interval_s * 1000ll;
	int64_t expiry = peer->last_alive_ms + peer->timeout_s * 1000ll;

	return peer->interval_s == 0 || peer->timeout_s == 0 ? -1 : ping < expiry ? ping : expiry;
}

void plane_wake(struct plane *plane, const struct peer *peer)
{
	int64_t due = due_of(peer);

	if (due >= 0 && (plane->deadline_ms < 0 || due < plane->deadline_ms))
		plane->deadline_ms = due;
}

void plane_delete(struct plane *plane, struct peer *peer, enum plane_del_reason reason)
{
	tell(plane, EVENT_DELETED, peer, reason);
	plane_remove_peer(plane, peer);
}

void plane_tick(struct plane *plane, int64_t now)
{
	struct peer *next;

	plane->now = now;
	if (plane->deadline_ms < 0 || now < plane->deadline_ms)
		return;
	plane->deadline_ms = -1;
	for (struct peer *peer = plane->peers; peer; peer = next) {
		int64_t due = due_of(peer);

		next = peer->next;
		if (due >= 0 && now >= due) {
			if (now - peer->last_alive_ms >= peer->timeout_s * 1000ll) {
				plane_delete(plane, peer, DEL_EXPIRED);
				continue;
			}
			/* Also without a key: the next try is an interval away. */
			peer->last_sent_ms = now;
			plane_transmit(plane, peer, PING, sizeof(PING));
		}
		plane_wake(plane, peer);
	}
}
