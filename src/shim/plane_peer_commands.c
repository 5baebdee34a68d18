/* SPDX-License-Identifier: Apache-2.0 */
/* What JavaScript tells the plane of peers and keys, and asks of them. */
#include <stdlib.h>

#include "plane_commands.h"

static const uint8_t *address_of(const union shim_value *in, size_t length)
{
	return in->bytes.data && in->bytes.length == length ? in->bytes.data : NULL;
}

/* plane, peerId, txId, isV1, path, vpnIp4, vpnIp6, routes, interval, timeout, now */
static int64_t do_new_peer(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct peer *peer = calloc(1, sizeof(*peer)), *replaced = plane->is_mp ? NULL : plane->peers;
	const uint8_t *vpn4 = address_of(in + 5, 4), *vpn6 = address_of(in + 6, 16);
	int64_t status = -EINVAL;

	if (!peer)
		return -ENOMEM;
	if (!plane->is_threaded)
		plane_set_now(plane, in[10].number);
	peer->peer_id = in[1].number;
	peer->serial = ++plane->next_serial & 0x7fffffff;
	peer->tx_id = in[2].number;
	peer->is_v1 = in[3].number;
	peer->interval_s = in[8].number;
	peer->timeout_s = in[9].number;
	peer->last_sent_ms = peer->last_alive_ms = plane->rx.now;
	/* A point-to-point plane has one peer: a new one takes the place of the old. */
	if (plane_read_path(&peer->path, in + 4)) {
		if (replaced)
			plane_delete(plane, replaced, DEL_TEARDOWN);
		status = plane_add_peer(plane, peer, vpn4, vpn6, in[7].bytes.data, in[7].bytes.data ? in[7].bytes.length : 0);
	}
	if (status < 0) {
		free(peer);
		return status;
	}
	plane_wake(plane, peer);
	return peer->serial;
}
COMMAND(new_peer)

/* plane, peerId, path, vpnIp4, vpnIp6, routes, interval (-1: unchanged), timeout, now */
static int64_t do_change_peer(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct peer *peer = plane_find(plane, in[1].number);
	struct plane_path path;
	int status;

	if (!plane->is_threaded)
		plane_set_now(plane, in[8].number);
	if (!peer)
		return -ENOENT;
	if (in[2].bytes.data && !plane_read_path(&path, in + 2))
		return -EINVAL;
	status = plane_set_addresses(plane, peer, address_of(in + 3, 4), address_of(in + 4, 16));
	if (status == 0 && in[5].bytes.data)
		status = plane_set_routes(plane, peer, in[5].bytes.data, in[5].bytes.length);
	if (status < 0)
		return status;
	if (in[2].bytes.data)
		plane_place(plane, peer, &path, true);
	if (in[6].number >= 0) {
		peer->interval_s = in[6].number;
		peer->timeout_s = in[7].number;
		peer->last_sent_ms = peer->last_alive_ms = plane->rx.now;
		plane_wake(plane, peer);
	}
	return 0;
}
COMMAND(change_peer)

static int64_t do_delete_peer(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);

	if (!peer)
		return -ENOENT;
	plane_delete(plane, peer, DEL_USERSPACE);
	return 0;
}
COMMAND(delete_peer)

/* plane, peerId, slot, keyId, cipher, isEpoch, encrypt key, encrypt tail, decrypt key, decrypt tail, rekeyPackets, rekeyBytes */
int64_t plane_add_key(struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane *plane = call->object;
	bool is_epoch = in[5].number;
	size_t tail = is_epoch ? 0 : NONCE_TAIL_LENGTH;
	struct key_bytes seal = { in[6].bytes.data, in[7].bytes.data, in[6].bytes.length };
	struct key_bytes open = { in[8].bytes.data, in[9].bytes.data, in[8].bytes.length };
	struct data_key *key, *old, **slot;
	struct peer *peer;

	if (in[7].bytes.length != tail || in[9].bytes.length != tail || in[3].number < 0 || in[3].number > 7 ||
	    (is_epoch && (seal.length != EPOCH_KEY_LENGTH || open.length != EPOCH_KEY_LENGTH)))
		return -EINVAL;
	/* Keys are derived, made and wiped without the lock: packets go on meanwhile. */
	key = key_new(plane, in[3].number, in[4].text, is_epoch, &seal, &open);
	if (!key)
		return -EINVAL;
	key->rekey_packets = in[10].number;
	key->rekey_bytes = in[11].number;
	plane_lock(plane);
	peer = plane_find(plane, in[1].number);
	old = key;
	if (peer && !(is_epoch && peer->is_v1)) {
		slot = in[2].number ? &peer->secondary : &peer->primary;
		old = *slot;
		*slot = key;
	}
	plane_unlock(plane);
	/* The epoch format has no P_DATA_V1. */
	key_free(old);
	return !peer ? -ENOENT : old == key ? -EOPNOTSUPP : 0;
}

static int64_t do_swap_keys(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);
	struct data_key *key;

	if (!peer || !key_usable(peer->secondary))
		return peer ? -ENODATA : -ENOENT;
	key = peer->primary;
	peer->primary = peer->secondary;
	peer->secondary = key;
	return 0;
}
COMMAND(swap_keys)

static int64_t do_delete_key(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);
	struct data_key **slot;

	if (!peer)
		return -ENOENT;
	slot = call->in[2].number ? &peer->secondary : &peer->primary;
	key_free(*slot);
	*slot = NULL;
	return 0;
}
COMMAND(delete_key)

/* plane, peerId, payload, now */
static int64_t do_send_inner(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);

	if (!plane->is_threaded)
		plane_set_now(plane, call->in[3].number);
	if (!peer)
		return -ENOENT;
	return plane_transmit(plane, peer, call->in[2].bytes.data, call->in[2].bytes.length) ? 0 : -ENODATA;
}
COMMAND(send_inner)

/* ---- what is there. All numbers in native order. */

struct shown_peer {
	uint32_t peer_id, interval_s, timeout_s;
	uint8_t has_vpn4, has_vpn6, primary_id, secondary_id;
	struct plane_path path;
	uint8_t vpn4[4], vpn6[16];
	/* Empty: no key. */
	char primary[24], secondary[24];
	uint8_t pad[4];
	uint64_t counters[COUNTERS];
};

static void show_key(uint8_t *id, char *cipher, struct data_key *key)
{
	if (!key_usable(key))
		return;
	*id = key->key_id;
	memcpy(cipher, key->cipher, sizeof(key->cipher));
}

static void show_peer(struct shown_peer *shown, const struct peer *peer)
{
	memset(shown, 0, sizeof(*shown));
	shown->peer_id = peer->peer_id;
	shown->interval_s = peer->interval_s;
	shown->timeout_s = peer->timeout_s;
	shown->has_vpn4 = !plane_is_none(peer->vpn4, 4);
	shown->has_vpn6 = !plane_is_none(peer->vpn6, 16);
	shown->path = peer->path;
	memcpy(shown->vpn4, peer->vpn4, 4);
	memcpy(shown->vpn6, peer->vpn6, 16);
	memcpy(shown->counters, peer->counters, sizeof(shown->counters));
	show_key(&shown->primary_id, shown->primary, peer->primary);
	show_key(&shown->secondary_id, shown->secondary, peer->secondary);
}

/* JavaScript's memory is asked for without the lock: its collector may run then. */
int64_t plane_list_peers(struct shim_call *call)
{
	struct plane *plane = call->object;
	struct shown_peer *shown;
	uint32_t count = 0, room;
	uint8_t *out;

	/* Only commands add peers, and this is one: later there are at most as many. */
	plane_lock(plane);
	room = plane->peer_count;
	plane_unlock(plane);
	shown = malloc((room + 1) * sizeof(*shown));
	if (!shown)
		return -ENOMEM;
	plane_lock(plane);
	for (struct peer *peer = plane->peers; peer && count < room; peer = peer->next)
		show_peer(&shown[count++], peer);
	plane_unlock(plane);
	out = shim_result_bytes(call, count * sizeof(*shown));
	if (out)
		memcpy(out, shown, count * sizeof(*shown));
	free(shown);
	return out ? 0 : -ENOMEM;
}

/* Drops by reason, then the features that are on. */
int64_t plane_show(struct shim_call *call)
{
	struct plane *plane = call->object;
	int64_t numbers[DROP_REASONS + 1];

	plane_lock(plane);
	for (int i = 0; i < DROP_REASONS; i++)
		numbers[i] = plane->rx.drops[i] + plane->tx.drops[i];
	numbers[DROP_REASONS] = plane->active;
	plane_unlock(plane);
	shim_result_numbers(call, numbers, DROP_REASONS + 1);
	return 0;
}
