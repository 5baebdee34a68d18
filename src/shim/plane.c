/* SPDX-License-Identifier: Apache-2.0 */
/* The native data plane as JavaScript calls it, and the queue of events for JavaScript. */
#include "plane.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENT_HEADER 4
#define SOCKET_BUFFER (512 * 1024)

extern const size_t send_batch_size;

/* ---- events */

struct notice {
	struct notice *next;
	size_t length;
	uint8_t bytes[];
};

static size_t padded(size_t length)
{
	return EVENT_HEADER + ((length + 3) & ~(size_t)3);
}

static void write_event(uint8_t *at, enum plane_event type, const void *head, size_t head_length, const void *body, size_t length)
{
	uint16_t total = head_length + length;

	memset(at, 0, padded(total));
	at[0] = type;
	memcpy(at + 2, &total, sizeof(total));
	if (head_length)
		memcpy(at + EVENT_HEADER, head, head_length);
	if (length)
		memcpy(at + EVENT_HEADER + head_length, body, length);
}

/* Room for `size` bytes, leaving `reserve`; NULL: none. Without a thread the queue grows. */
static uint8_t *room_for(struct plane *plane, size_t size, size_t reserve)
{
	if (!plane->is_threaded && plane->events_used + size > plane->events_size) {
		size_t bigger = (plane->events_used + size) * 2;
		uint8_t *events = realloc(plane->events, bigger);

		if (!events)
			return NULL;
		plane->events = events;
		plane->events_size = bigger;
	}
	if (plane->events_used + size + (plane->is_threaded ? reserve : 0) > plane->events_size)
		return NULL;
	plane->events_used += size;
	return plane->events + plane->events_used - size;
}

static void move_notices(struct plane *plane)
{
	struct notice *notice;
	uint8_t *room;

	while ((notice = plane->notices)) {
		room = room_for(plane, notice->length, 0);
		if (!room)
			return;
		memcpy(room, notice->bytes, notice->length);
		plane->notices = notice->next;
		if (!plane->notices)
			plane->notices_end = &plane->notices;
		free(notice);
	}
}

void plane_tell(struct plane *plane, enum plane_event type, const void *head, size_t head_length, const void *body,
		size_t length, bool is_notice)
{
	size_t size = padded(head_length + length);
	struct notice *notice;
	uint64_t one = 1;
	ssize_t ignored;
	uint8_t *room;

	pthread_mutex_lock(&plane->events_lock);
	move_notices(plane);
	if (type) {
		room = plane->notices ? NULL : room_for(plane, size, is_notice ? 0 : EVENTS_RESERVE);
		if (room) {
			write_event(room, type, head, head_length, body, length);
		} else if (!is_notice) {
			plane_drop(plane, DROP_CONTROL);
		} else if ((notice = malloc(sizeof(*notice) + size))) {
			notice->next = NULL;
			notice->length = size;
			write_event(notice->bytes, type, head, head_length, body, length);
			*plane->notices_end = notice;
			plane->notices_end = &notice->next;
		}
	}
	if (plane->events_used) {
		ignored = write(plane->event_fd, &one, sizeof(one));
		(void)ignored;
	}
	pthread_mutex_unlock(&plane->events_lock);
}

/* Whole events into the buffer; how many bytes. */
static int64_t take_events(struct shim_call *call)
{
	struct plane *plane = shim_handle_get(SHIM_PLANE, call->in[0].number);
	size_t room = call->in[1].bytes.length, at = 0;
	uint64_t ignored;

	if (!plane)
		return -EBADF;
	pthread_mutex_lock(&plane->events_lock);
	while (read(plane->event_fd, &ignored, sizeof(ignored)) > 0)
		;
	while (at < plane->events_used) {
		uint16_t length;

		memcpy(&length, plane->events + at + 2, sizeof(length));
		if (at + padded(length) > room)
			break;
		at += padded(length);
	}
	memcpy(call->in[1].bytes.data, plane->events, at);
	plane->events_used -= at;
	memmove(plane->events, plane->events + at, plane->events_used);
	move_notices(plane);
	if (plane->events_used) {
		ignored = 1;
		if (write(plane->event_fd, &ignored, sizeof(ignored)) < 0)
			at += 0;
	}
	pthread_mutex_unlock(&plane->events_lock);
	return at;
}

/* ---- life */

static void free_plane(struct plane *plane)
{
	struct plane_socket *socket;
	struct notice *notice;

	plane_stop(plane);
	while (plane->peers)
		plane_remove_peer(plane, plane->peers);
	while ((socket = plane->sockets)) {
		plane->sockets = socket->next;
		stream_free(socket->stream);
		free(socket);
	}
	while ((notice = plane->notices)) {
		plane->notices = notice->next;
		free(notice);
	}
	if (plane->event_fd >= 0)
		close(plane->event_fd);
	pthread_mutex_destroy(&plane->lock);
	pthread_mutex_destroy(&plane->events_lock);
	flows_free(plane->flows);
	free(plane->batch);
	free(plane->rx_area);
	free(plane->out_area);
	free(plane->tun_area);
	free(plane->events);
	free(plane);
}

static int64_t open_plane(struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane *plane = calloc(1, sizeof(*plane));
	int64_t handle = -ENOMEM;
	int status = 0;

	if (!plane)
		return -ENOMEM;
	plane->is_mp = in[0].number;
	plane->is_threaded = in[1].number >= 0;
	plane->tun = plane->is_threaded ? shim_tun_descriptor(in[1].number) : -1;
	plane->wanted = in[2].number;
	plane->mssfix = in[3].number;
	plane->uses_local = in[4].number;
	plane->peers_max = in[5].number;
	plane->first_id = in[6].number;
	plane->soft_id = in[7].number;
	plane->gcm_soft = in[8].number;
	plane->deadline_ms = plane->epoll = plane->wake_fd = -1;
	/* Super-packets fill a slot; without them more slots take more datagrams at once. */
	plane->rx_slots = plane->wanted & FEATURE_RX_GRO || in[9].number > RX_AREA / 32 ? 4 : 32;
	plane->events_size = EVENTS_AREA;
	plane->notices_end = &plane->notices;
	plane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	plane->rx_area = malloc(RX_AREA);
	plane->out_area = malloc(OUT_AREA);
	plane->tun_area = malloc(TUN_READ_MAX);
	plane->events = malloc(plane->events_size);
	plane->flows = flows_new();
	plane->batch = calloc(1, send_batch_size);
	pthread_mutex_init(&plane->lock, NULL);
	pthread_mutex_init(&plane->events_lock, NULL);
	if (plane->event_fd < 0 || !plane->rx_area || !plane->out_area || !plane->tun_area || !plane->events ||
	    !plane->flows || !plane->batch)
		status = -ENOMEM;
	else if (plane->is_threaded)
		status = plane->tun < 0 ? -EBADF : plane_start(plane);
	if (status == 0)
		handle = shim_handle_new(SHIM_PLANE, plane);
	if (status < 0 || handle < 0) {
		free_plane(plane);
		return status < 0 ? status : handle;
	}
	return handle;
}

static int64_t close_plane(struct shim_call *call)
{
	struct plane *plane = shim_handle_take(SHIM_PLANE, call->in[0].number);

	if (!plane)
		return -EBADF;
	free_plane(plane);
	return 0;
}

static int64_t events_fd(struct shim_call *call)
{
	struct plane *plane = shim_handle_get(SHIM_PLANE, call->in[0].number);

	return plane ? plane->event_fd : -EBADF;
}

/* ---- commands: each finds the plane, takes the lock, and sends what it made */

typedef int64_t (*command)(struct plane *plane, struct shim_call *call);

static int64_t locked(struct shim_call *call, command run)
{
	struct plane *plane = shim_handle_get(SHIM_PLANE, call->in[0].number);
	int64_t status;

	if (!plane)
		return -EBADF;
	plane_lock(plane);
	status = run(plane, call);
	plane_unlock(plane);
	return status;
}

#define COMMAND(name)                                 \
	static int64_t name(struct shim_call *call)   \
	{                                             \
		return locked(call, do_##name);       \
	}

static bool read_path(struct plane_path *path, const union shim_value *in)
{
	if (in->bytes.length != PATH_LENGTH)
		return false;
	memcpy(path, in->bytes.data, PATH_LENGTH);
	return path->block[0] == 4 || path->block[0] == 16;
}

static const uint8_t *address_of(const union shim_value *in, size_t length)
{
	return in->bytes.data && in->bytes.length == length ? in->bytes.data : NULL;
}

/* plane, peerId, txId, isV1, path, vpnIp4, vpnIp6, routes, interval, timeout, now */
static int64_t do_add_peer(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct peer *peer = calloc(1, sizeof(*peer)), *replaced = plane->is_mp ? NULL : plane->peers;
	const uint8_t *vpn4 = address_of(in + 5, 4), *vpn6 = address_of(in + 6, 16);
	int64_t status = -EINVAL;
	uint32_t replaced_id = replaced ? replaced->peer_id : 0;

	if (!peer)
		return -ENOMEM;
	if (!plane->is_threaded)
		plane->now = in[10].number;
	peer->peer_id = in[1].number;
	peer->tx_id = in[2].number;
	peer->is_v1 = in[3].number;
	peer->interval_s = in[8].number;
	peer->timeout_s = in[9].number;
	peer->last_sent_ms = peer->last_alive_ms = plane->now;
	peer->has_vpn4 = vpn4;
	peer->has_vpn6 = vpn6;
	if (vpn4)
		memcpy(peer->vpn4, vpn4, 4);
	if (vpn6)
		memcpy(peer->vpn6, vpn6, 16);
	/* A point-to-point plane has one peer: a new one takes the place of the old. */
	if (read_path(&peer->path, in + 4)) {
		if (replaced)
			plane_remove_peer(plane, replaced);
		status = plane_add_peer(plane, peer, in[7].bytes.data, in[7].bytes.data ? in[7].bytes.length : 0);
	}
	if (status < 0) {
		free(peer);
		return status;
	}
	plane_wake(plane, peer);
	if (replaced) {
		uint32_t pair[2] = { replaced_id, DEL_TEARDOWN };

		plane_tell(plane, EVENT_DELETED, pair, sizeof(pair), NULL, 0, true);
	}
	return 0;
}
COMMAND(add_peer)

/* plane, peerId, path, vpnIp4, vpnIp6, routes, interval (-1: unchanged), timeout, now */
static int64_t do_set_peer(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct peer *peer = plane_find(plane, in[1].number);
	struct plane_path path;
	int status;

	if (!plane->is_threaded)
		plane->now = in[8].number;
	if (!peer)
		return -ENOENT;
	if (in[2].bytes.data && !read_path(&path, in + 2))
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
		peer->last_sent_ms = peer->last_alive_ms = plane->now;
		plane_wake(plane, peer);
	}
	return 0;
}
COMMAND(set_peer)

static int64_t do_delete_peer(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);

	if (!peer)
		return -ENOENT;
	plane_delete(plane, peer, DEL_USERSPACE);
	return 0;
}
COMMAND(delete_peer)

static struct data_key *new_key(const struct plane *plane, const union shim_value *in)
{
	struct data_key *key = calloc(1, sizeof(*key));
	int error;

	if (!key)
		return NULL;
	key->key_id = in[3].number;
	strncpy(key->cipher, in[4].text, sizeof(key->cipher) - 1);
	key->is_chacha = strcmp(key->cipher, "CHACHA20-POLY1305") == 0;
	key->seal = crypto_aead_new(key->cipher, in[5].bytes.data, in[5].bytes.length, &error);
	key->open = crypto_aead_new(key->cipher, in[7].bytes.data, in[7].bytes.length, &error);
	memcpy(key->seal_tail, in[6].bytes.data, sizeof(key->seal_tail));
	memcpy(key->open_tail, in[8].bytes.data, sizeof(key->open_tail));
	key->next_id = plane->first_id;
	if (key->seal && key->open)
		return key;
	plane_free_key(key);
	return NULL;
}

/* plane, peerId, slot, keyId, cipher, encrypt key, encrypt tail, decrypt key, decrypt tail */
static int64_t do_add_key(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct peer *peer = plane_find(plane, in[1].number);
	struct data_key *key, **slot;

	if (!peer)
		return -ENOENT;
	if (in[6].bytes.length != 8 || in[8].bytes.length != 8 || in[3].number < 0 || in[3].number > 7)
		return -EINVAL;
	key = new_key(plane, in);
	if (!key)
		return -EINVAL;
	slot = in[2].number ? &peer->secondary : &peer->primary;
	plane_free_key(*slot);
	*slot = key;
	return 0;
}
COMMAND(add_key)

static int64_t do_swap_keys(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);
	struct data_key *key;

	if (!peer || !peer->secondary)
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
	plane_free_key(*slot);
	*slot = NULL;
	return 0;
}
COMMAND(delete_key)

/* plane, peerId, payload, now */
static int64_t do_send_inner(struct plane *plane, struct shim_call *call)
{
	struct peer *peer = plane_find(plane, call->in[1].number);

	if (!plane->is_threaded)
		plane->now = call->in[3].number;
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

static int64_t do_list_peers(struct plane *plane, struct shim_call *call)
{
	uint8_t *out = shim_result_bytes(call, plane->peer_count * sizeof(struct shown_peer));
	struct shown_peer shown;

	if (!out)
		return -ENOMEM;
	for (struct peer *peer = plane->peers; peer; peer = peer->next, out += sizeof(shown)) {
		memset(&shown, 0, sizeof(shown));
		shown.peer_id = peer->peer_id;
		shown.interval_s = peer->interval_s;
		shown.timeout_s = peer->timeout_s;
		shown.has_vpn4 = peer->has_vpn4;
		shown.has_vpn6 = peer->has_vpn6;
		shown.path = peer->path;
		memcpy(shown.vpn4, peer->vpn4, 4);
		memcpy(shown.vpn6, peer->vpn6, 16);
		memcpy(shown.counters, peer->counters, sizeof(shown.counters));
		if (peer->primary) {
			shown.primary_id = peer->primary->key_id;
			memcpy(shown.primary, peer->primary->cipher, sizeof(shown.primary));
		}
		if (peer->secondary) {
			shown.secondary_id = peer->secondary->key_id;
			memcpy(shown.secondary, peer->secondary->cipher, sizeof(shown.secondary));
		}
		memcpy(out, &shown, sizeof(shown));
	}
	return 0;
}
COMMAND(list_peers)

/* Drops by reason, then the features that are on. */
static int64_t do_show(struct plane *plane, struct shim_call *call)
{
	int64_t numbers[DROP_REASONS + 1];

	for (int i = 0; i < DROP_REASONS; i++)
		numbers[i] = plane->drops[i];
	numbers[DROP_REASONS] = plane->active;
	shim_result_numbers(call, numbers, DROP_REASONS + 1);
	return 0;
}
COMMAND(show)

/* ---- sockets */

/* plane, number, descriptor, family (4 or 6), tunes */
static int64_t do_add_socket(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_socket *socket = calloc(1, sizeof(*socket));
	int size = SOCKET_BUFFER, status;

	if (!socket)
		return -ENOMEM;
	*socket = (struct plane_socket){ .next = plane->sockets, .number = in[1].number, .fd = in[2].number,
					 .family = in[3].number == 4 ? AF_INET : AF_INET6 };
	plane_probe_socket(plane, socket->fd);
	/* The usual 208 KB hold two super-packets; only root may have more than the system's limit. */
	if (in[4].number && setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0)
		setsockopt(socket->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	status = plane_watch(plane, socket, true);
	if (status < 0) {
		free(socket);
		return status;
	}
	plane->sockets = socket;
	return 0;
}
COMMAND(add_socket)

/* plane, descriptor, path, longest record */
static int64_t do_add_stream(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_socket *socket = calloc(1, sizeof(*socket));
	struct plane_path path;
	int status = -EINVAL;

	if (!socket)
		return -ENOMEM;
	if (read_path(&path, in + 2) && in[3].number > 0 && in[3].number <= DATAGRAM_MAX) {
		*socket = (struct plane_socket){ .next = plane->sockets, .number = path.socket, .fd = in[1].number };
		socket->stream = stream_new(plane, socket, &path, in[3].number);
		status = socket->stream ? plane_watch(plane, socket, true) : -ENOMEM;
	}
	if (status < 0) {
		stream_free(socket->stream);
		free(socket);
		return status;
	}
	plane->sockets = socket;
	return 0;
}
COMMAND(add_stream)

/* plane, number, record with its length in front */
static int64_t do_send_record(struct plane *plane, struct shim_call *call)
{
	struct plane_socket *socket = plane_socket_find(plane, call->in[1].number);

	if (!socket || !socket->stream)
		return -ENOENT;
	/* What is on its way already comes first. */
	send_flush(plane);
	stream_write(plane, socket, call->in[2].bytes.data, call->in[2].bytes.length, false);
	return 0;
}
COMMAND(send_record)

/* Before its descriptor is closed. */
static int64_t do_remove_socket(struct plane *plane, struct shim_call *call)
{
	struct plane_socket **at = &plane->sockets, *socket;

	while (*at && (*at)->number != call->in[1].number)
		at = &(*at)->next;
	socket = *at;
	if (!socket)
		return -ENOENT;
	plane_unwatch(plane, socket);
	*at = socket->next;
	send_forget(plane, socket->number);
	stream_free(socket->stream);
	free(socket);
	return 0;
}
COMMAND(remove_socket)

/* ---- without a thread */

/* plane, path, datagram, now */
static int64_t do_from_network(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_path path;

	if (plane->is_threaded || !read_path(&path, in + 1) || in[2].bytes.length > DATAGRAM_MAX)
		return -EINVAL;
	plane->now = in[3].number;
	/* Decrypted in place: not in JavaScript's bytes. */
	memcpy(plane->rx_area, in[2].bytes.data, in[2].bytes.length);
	plane_receive(plane, &path, plane->rx_area, in[2].bytes.length);
	return 0;
}
COMMAND(from_network)

/* plane, virtio header and packet, now */
static int64_t do_from_tun(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;

	if (plane->is_threaded || in[1].bytes.length > TUN_READ_MAX)
		return -EINVAL;
	plane->now = in[2].number;
	memcpy(plane->tun_area, in[1].bytes.data, in[1].bytes.length);
	plane_from_tun(plane, plane->tun_area, in[1].bytes.length);
	return 0;
}
COMMAND(from_tun)

static int64_t do_tick(struct plane *plane, struct shim_call *call)
{
	plane_tick(plane, call->in[1].number);
	return 0;
}
COMMAND(tick)

/* -1: none */
static int64_t do_deadline(struct plane *plane, struct shim_call *call)
{
	int64_t deadline = plane->deadline_ms;

	(void)call;
	shim_result_numbers(call, &deadline, 1);
	return 0;
}
COMMAND(deadline)

const struct shim_entry shim_plane[] = {
	{ "plane_open", open_plane,
	  "i:isMany i:tun i:features i:mssfix i:usesLocal i:peersMax i:firstId i:softId i:gcmSoft i:mtu" },
	{ "plane_close", close_plane, "i:plane" },
	{ "plane_fd", events_fd, "i:plane" },
	{ "plane_take", take_events, "i:plane b:buffer" },
	{ "plane_add_peer", add_peer,
	  "i:plane i:peerId i:txId i:isV1 b:path B:vpnIp4 B:vpnIp6 B:routes i:interval i:timeout i:now" },
	{ "plane_set_peer", set_peer, "i:plane i:peerId B:path B:vpnIp4 B:vpnIp6 B:routes i:interval i:timeout i:now" },
	{ "plane_del_peer", delete_peer, "i:plane i:peerId" },
	{ "plane_add_key", add_key,
	  "i:plane i:peerId i:slot i:keyId s:cipher b:encryptKey b:encryptTail b:decryptKey b:decryptTail" },
	{ "plane_swap_keys", swap_keys, "i:plane i:peerId" },
	{ "plane_del_key", delete_key, "i:plane i:peerId i:slot" },
	{ "plane_send_inner", send_inner, "i:plane i:peerId b:payload i:now" },
	{ "plane_peers", list_peers, "i:plane" },
	{ "plane_show", show, "i:plane" },
	{ "plane_add_socket", add_socket, "i:plane i:number i:descriptor i:family i:tunes" },
	{ "plane_add_stream", add_stream, "i:plane i:descriptor b:path i:recordMax" },
	{ "plane_send_record", send_record, "i:plane i:number b:record" },
	{ "plane_remove_socket", remove_socket, "i:plane i:number" },
	{ "plane_from_network", from_network, "i:plane b:path b:datagram i:now" },
	{ "plane_from_tun", from_tun, "i:plane b:frame i:now" },
	{ "plane_tick", tick, "i:plane i:now" },
	{ "plane_deadline", deadline, "i:plane" },
	{ 0 },
};
