/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet. A received one passes, in this order: key by key id, decryption, replay window, mark alive, float, protocol
 * check, reverse path check, delivery; each step that refuses it has a counter. src/plane/js.ts is the reference.
 *
 *   aead        P_DATA_V2: [op|kid] peer-id(3) | packet id(4) | tag(16) | ciphertext    AAD = the first 8 bytes
 *               P_DATA_V1: [op|kid]            | packet id(4) | tag(16) | ciphertext    AAD = the packet id
 *   aead-epoch  P_DATA_V2: [op|kid] peer-id(3) | packet id(8) | ciphertext | tag(16)    AAD = the first 12 bytes
 *
 *   nonce = iv(12) XOR packet id, zeros
 */
#include <string.h>

#include "plane.h"

static const uint8_t PING[16] = { 0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb,
				  0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48 };
static const uint8_t OCC[16] = { 0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81,
				 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c };

void plane_drop(struct side *side, enum plane_drop reason)
{
	if (reason != DROP_NONE)
		side->drops[reason]++;
}

static void store(uint8_t *at, uint64_t value, size_t length)
{
	for (size_t i = 0; i < length; i++)
		at[i] = value >> (8 * (length - 1 - i));
}

static void tell(struct plane *plane, enum plane_event type, const struct peer *peer, uint32_t value)
{
	uint32_t words[3] = { peer->peer_id, peer->serial, value };

	plane_tell(plane, type, words, sizeof(words), NULL, 0, true);
}

/* Told once, of the primary key only: any other is on its way out already. */
static void warn(struct plane *plane, struct peer *peer, struct data_key *key)
{
	if (peer->primary != key || key->is_expiry_told || !key_is_expiring(key) || atomic_exchange(&key->is_expiry_told, true))
		return;
	tell(plane, EVENT_EXPIRING, peer, key->key_id);
}

static size_t id_length(const struct data_key *key)
{
	return key->epochs ? EPOCH_ID_LENGTH : PACKET_ID_LENGTH;
}

static uint64_t counter_of(const struct data_key *key, const uint8_t *id)
{
	return key->epochs ? (uint64_t)(id[2] << 8 | id[3]) << 32 | load32(id + 4) : load32(id);
}

static void make_nonce(uint8_t *nonce, const struct direction *direction, const uint8_t *id, size_t length)
{
	memcpy(nonce, direction->iv, CRYPTO_NONCE_LENGTH);
	for (size_t i = 0; i < length; i++)
		nonce[i] ^= id[i];
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
	int id = peer->primary ? id_length(peer->primary) : PACKET_ID_LENGTH;
	int data = (peer->is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2) + id + CRYPTO_TAG_LENGTH;
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
				       memcmp(peer->path.block + 24, from->block + 24, 16) != 0)) {
			plane_hold_tx(plane);
			peer->path = *from;
		}
		return;
	}
	/* Who moves faster than anybody can hear of it stays where it was. */
	if (!plane_can_tell(plane))
		return;
	plane_hold_tx(plane);
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
		plane_hold_tx(plane);
		if (plane->mssfix)
			packet_clamp(payload, length, segment_limit(plane, next, 4), segment_limit(plane, next, 6));
		next->counters[VPN_TX_BYTES] += length;
		next->counters[VPN_TX_PACKETS]++;
		return plane_transmit(plane, next, payload, length) ? DROP_NONE : DROP_NO_PEER_KEY;
	}
	if (plane->mssfix)
		packet_clamp(payload, length, segment_limit(plane, peer, 4), segment_limit(plane, peer, 6));
	flows_add(plane->flows, payload, length);
	return DROP_NONE;
}

/* Decrypts in place; `length` is what follows the header, then that of the payload. */
static enum plane_drop open_packet(struct plane *plane, struct peer *peer, struct data_key *key, uint8_t *datagram,
				   size_t header, uint8_t **payload, size_t *length)
{
	size_t ahead = id_length(key);
	uint8_t nonce[CRYPTO_NONCE_LENGTH], *id = datagram + header, *tag, *text;
	bool is_v1 = header == DATA_HEADER_V1;
	struct direction *direction;
	enum plane_drop reason = key_find(plane, key, id, *length, is_v1, &direction);

	if (reason != DROP_NONE)
		return reason;
	*length -= ahead + CRYPTO_TAG_LENGTH;
	text = key->epochs ? id + ahead : id + ahead + CRYPTO_TAG_LENGTH;
	tag = key->epochs ? text + *length : id + ahead;
	make_nonce(nonce, direction, id, ahead);
	/* P_DATA_V1 leaves its opcode byte unauthenticated. */
	if (crypto_aead_open(direction->aead, nonce, is_v1 ? id : datagram, is_v1 ? ahead : header + ahead, text, *length,
			     tag, text) < 0) {
		if (++direction->failures > plane->limits.failures_soft) {
			key_note_opened(plane, key);
			warn(plane, peer, key);
		}
		return DROP_AUTH;
	}
	direction->blocks += (*length + 15) / 16;
	*payload = text;
	if (!key_accept(plane, key, direction, counter_of(key, id), plane->rx.now))
		return DROP_REPLAY;
	key_note_opened(plane, key);
	return DROP_NONE;
}

static enum plane_drop receive(struct plane *plane, const struct plane_path *from, uint8_t *datagram, size_t length)
{
	uint8_t opcode = length ? datagram[0] >> 3 : 0, *payload;
	bool is_v1 = opcode == P_DATA_V1;
	size_t header = is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2, total = length;
	enum plane_drop reason;
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
	key = key_usable(peer->primary);
	if (!key || key->key_id != (datagram[0] & 7))
		key = key_usable(peer->secondary);
	if (!key || key->key_id != (datagram[0] & 7))
		return DROP_NO_KEY;
	length -= header;
	reason = open_packet(plane, peer, key, datagram, header, &payload, &length);
	if (reason != DROP_NONE)
		return reason;
	key_count_opened(plane, key, total);
	peer->last_alive_ms = plane->rx.now;
	follow(plane, peer, from);
	warn(plane, peer, key);
	return take(plane, peer, payload, length);
}

void plane_receive(struct plane *plane, const struct plane_path *from, uint8_t *datagram, size_t length)
{
	plane_drop(&plane->rx, receive(plane, from, datagram, length));
}

void plane_take_packet(struct plane *plane, const struct plane_path *from, uint8_t *packet, size_t length)
{
	uint8_t opcode = length ? packet[0] >> 3 : 0;

	if (opcode == P_DATA_V1 || opcode == P_DATA_V2)
		plane_receive(plane, from, packet, length);
	else if (length > CONTROL_LENGTH_MAX)
		plane_drop(&plane->rx, DROP_CONTROL);
	else
		plane_tell(plane, EVENT_CONTROL, from, PATH_LENGTH, packet, length, false);
}

/* ---- sending */

/* Packet id, ciphertext and tag behind the header at `out`; false: the library failed. */
static bool seal_packet(struct data_key *key, uint8_t *out, size_t header, const uint8_t *payload, size_t length)
{
	size_t ahead = id_length(key);
	uint8_t nonce[CRYPTO_NONCE_LENGTH], *id = out + header, *text;
	bool is_v1 = header == DATA_HEADER_V1;

	text = key->epochs ? id + ahead : id + ahead + CRYPTO_TAG_LENGTH;
	/* Counted before it is used: whatever happens below, this id never comes again. */
	store(id, (uint64_t)key->seal.epoch << 48 | key->next_id++, ahead);
	key->seal.blocks += (length + 15) / 16;
	make_nonce(nonce, &key->seal, id, ahead);
	return crypto_aead_seal(key->seal.aead, nonce, is_v1 ? id : out, is_v1 ? ahead : header + ahead, payload, length,
				text, key->epochs ? text + length : id + ahead) == 0;
}

bool plane_transmit(struct plane *plane, struct peer *peer, const uint8_t *payload, size_t length)
{
	struct data_key *key = key_usable(peer->primary);
	size_t header = peer->is_v1 ? DATA_HEADER_V1 : DATA_HEADER_V2, total;
	uint8_t *out;

	if (!key)
		return false;
	if (!key_prepare(plane, key)) {
		/* The secondary is not promoted: it may be the old key, which the other end is about to forget. */
		key->is_used_up = true;
		tell(plane, EVENT_EXHAUSTED, peer, key->key_id);
		return false;
	}
	total = header + id_length(key) + CRYPTO_TAG_LENGTH + length;
	out = send_reserve(plane, &peer->path, total);
	if (!out)
		return true;
	out[0] = (peer->is_v1 ? P_DATA_V1 : P_DATA_V2) << 3 | key->key_id;
	if (!peer->is_v1)
		store(out + 1, peer->tx_id, 3);
	if (!seal_packet(key, out, header, payload, length)) {
		plane_drop(&plane->tx, DROP_SEND);
		return true;
	}
	send_commit(plane, &peer->path, total);
	key->packets++;
	key->bytes += total;
	peer->last_sent_ms = plane->tx.now;
	peer->counters[LINK_TX_BYTES] += total;
	peer->counters[LINK_TX_PACKETS]++;
	key_note_sent(plane, key);
	warn(plane, peer, key);
	return true;
}

/* The peer that an IP packet from TUN goes to; NULL: dropped and counted. */
static struct peer *next_hop(struct plane *plane, const uint8_t *packet, size_t length)
{
	int version = ip_version(packet, length);
	const uint8_t *from = packet + (version == 4 ? 12 : 8), *to = packet + (version == 4 ? 16 : 24);
	struct peer *peer = plane->peers;

	if (version == 0) {
		plane_drop(&plane->tx, DROP_NOT_IP);
		return NULL;
	}
	if (!plane->is_mp) {
		if (!peer)
			plane_drop(&plane->tx, DROP_NO_PEER);
		return peer;
	}
	/* Groups: not even to a peer that has the default route. */
	peer = is_group(to, version) ? NULL : plane_route(plane, to, version == 4 ? 4 : 16);
	if (!peer)
		plane_drop(&plane->tx, is_link_local(from, version) ? DROP_LINK_LOCAL :
				  is_group(to, version)	       ? DROP_GROUP :
								 DROP_NO_ROUTE);
	return peer;
}

void plane_from_tun(struct plane *plane, uint8_t *frame, size_t length, bool tells)
{
	struct segments segments;
	struct peer *peer;
	uint8_t *packet;
	int limit4, limit6;

	if (length < TUN_HEADER_LENGTH) {
		plane_drop(&plane->tx, DROP_OFFLOAD);
		return;
	}
	/* Once for a whole super-packet. */
	peer = next_hop(plane, frame + TUN_HEADER_LENGTH, length - TUN_HEADER_LENGTH);
	if (!peer)
		return;
	limit4 = segment_limit(plane, peer, 4);
	limit6 = segment_limit(plane, peer, 6);
	tells = tells && !packet_mark(frame + TUN_HEADER_LENGTH, length - TUN_HEADER_LENGTH);
	if (!segments_begin(&segments, frame, length, limit4, limit6)) {
		plane_drop(&plane->tx, DROP_OFFLOAD);
		return;
	}
	while ((packet = segments_next(&segments, &length))) {
		/* One of a super-packet is enough. */
		if (tells) {
			tells = false;
			plane_drop(&plane->tx, DROP_QUEUE);
			continue;
		}
		if (plane->mssfix)
			packet_clamp(packet, length, limit4, limit6);
		/* Counted before there is a key, as the kernel does. */
		peer->counters[VPN_TX_BYTES] += length;
		peer->counters[VPN_TX_PACKETS]++;
		if (!plane_transmit(plane, peer, packet, length))
			plane_drop(&plane->tx, DROP_NO_PEER_KEY);
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

void plane_tick(struct plane *plane)
{
	int64_t now = plane->rx.now;
	struct peer *next;

	if (plane->deadline_ms < 0 || now < plane->deadline_ms)
		return;
	plane_hold_tx(plane);
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
