/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native data plane: the semantics of the Linux `ovpn` module in user space, as src/plane/js.ts spells them out.
 *
 *   plane.c           life, sockets; plane_peer_commands.c: peers and keys; plane_events.c: what JavaScript hears
 *   plane_table.c     peers, VPN addresses, networks behind peers
 *   plane_key.c       data keys: replay windows, usage limits, epochs
 *   plane_packet.c    one packet: seal, open, float, keepalive, counters, notices
 *   plane_segment.c   checksums, cutting super-packets, MSS
 *   plane_coalesce.c  joining received packets into super-packets
 *   plane_send.c      datagrams on their way out, in runs of equal size
 *   plane_queue.c     when senders are told to slow down
 *   plane_stream.c    TCP connections
 *   plane_io.c        the data threads: TUN device, sockets, timer; plane_turn.c: whose turn it is
 *
 * There are two sides, each with a lock that a data thread takes once for each turn of its loop, never for a packet:
 *
 *   rx   sockets to TUN: keys for opening, replay windows, when a peer was alive, flows, keepalive
 *   tx   TUN to sockets: keys for sealing, packet ids, when something was sent, runs, what sockets have no room for
 *
 * What both read (peers and their paths, routes, which keys there are, sockets) changes with both locks held, rx first:
 * by JavaScript's commands and, at any time of its turn, by the receiving thread (plane_hold_tx). The sending thread
 * never needs both. With one thread rx's lock is all of it. Only the queue of events has a lock of its own. Without a
 * thread (tests) everything happens in the caller's.
 */
#ifndef OVPND_PLANE_H
#define OVPND_PLANE_H

#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "plane_key.h"
#include "plane_segment.h"
#include "shim.h"

#define P_DATA_V1 6
#define P_DATA_V2 9
#define DATA_HEADER_V1 1
#define DATA_HEADER_V2 4
#define PEER_ID_UNDEF 0xffffff
#define DATAGRAM_MAX 65535
/* A super-packet that the kernel hands out: 64 KiB and its headers. */
#define TUN_READ_MAX (65536 + 256)
#define RX_AREA (4 * 65536)
#define OUT_AREA (272 * 1024)
/* Free before a super-packet is read, so that it can be cut whole, unless into very small packets. */
#define OUT_RESERVE (80 * 1024)
#define SEGMENTS_MAX 64
/* For headers older than the kernel: linux/udp.h. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
/* Of TCP connections: two bytes of length. */
#define RECORD_HEADER 2
#define RUN_BYTES_MAX 65000
#define RUNS_MAX 64
#define EVENTS_AREA (128 * 1024)
/* What is left of it is for notices: control packets must not push them out. */
#define EVENTS_RESERVE (48 * 1024)
#define BACKLOG_MAX (256 * 1024)
/* No control packet is longer, however long data packets may be. */
#define CONTROL_LENGTH_MAX 4096
#define BUCKETS 1024

/* In the order of DEL_REASONS in src/core/plane.ts. */
enum plane_del_reason { DEL_TEARDOWN, DEL_USERSPACE, DEL_EXPIRED, DEL_TRANSPORT_ERROR, DEL_TRANSPORT_DISCONNECT };

/* Events for JavaScript: [type] 0 length(2, native order) payload, padded to 4 bytes. Paths are PATH_LENGTH bytes. */
enum plane_event {
	EVENT_DELETED = 1, /* peer id(4) serial(4) reason(4) */
	EVENT_FLOATED,     /* peer id(4) serial(4) path */
	EVENT_EXHAUSTED,   /* peer id(4) serial(4) key id(4) */
	EVENT_EXPIRING,    /* peer id(4) serial(4) key id(4) */
	EVENT_CONTROL,     /* path, packet */
	EVENT_INNER,       /* peer id(4) payload */
	EVENT_STREAM_END,  /* socket(4) errno(4) */
	EVENT_BROKEN,      /* errno(4) */
	EVENT_SEND,        /* without a thread: path, datagram */
	EVENT_DELIVER,     /* without a thread: virtio header, packet */
};

/* Features of the fast path; bits of `wanted` and `active`. */
enum plane_feature {
	FEATURE_TUN_TSO = 1, FEATURE_TUN_USO = 2, FEATURE_TUN_GRO = 4, FEATURE_TX_GSO = 8, FEATURE_RX_GRO = 16,
};

/* Whether an address is unspecified. */
static inline bool plane_is_none(const uint8_t *ip, size_t length)
{
	return memcmp(ip, (const uint8_t[16]){ 0 }, length) == 0;
}

#define PATH_LENGTH (8 + SHIM_ADDRESS_LENGTH)

/* How to reach a peer: our number of the socket, and an address block (see shim.h). */
struct plane_path {
	int32_t socket;
	int32_t tcp;
	uint8_t block[SHIM_ADDRESS_LENGTH];
};

enum plane_counter {
	VPN_RX_BYTES, VPN_TX_BYTES, VPN_RX_PACKETS, VPN_TX_PACKETS, LINK_RX_BYTES, LINK_TX_BYTES, LINK_RX_PACKETS,
	LINK_TX_PACKETS, COUNTERS,
};

struct peer {
	/* The serial tells a peer from an earlier one with its id: notices may be late. */
	uint32_t peer_id, serial, tx_id;
	bool is_v1;
	struct plane_path path;
	/* Zeros: it has none. */
	uint8_t vpn4[4], vpn6[16];
	uint32_t interval_s, timeout_s;
	int64_t last_sent_ms, last_alive_ms;
	struct data_key *primary, *secondary;
	uint64_t counters[COUNTERS];
	struct peer *next, *next_by_id, *next_by_path;
	uint32_t path_bucket;
};

/* The VPN address of a peer or a network behind it; of equal ones the newest counts. */
struct route {
	struct route *next;
	struct peer *peer;
	uint8_t family, bits;
	uint8_t ip[16];
};

struct stream;
struct flows;

struct plane_socket {
	struct plane_socket *next;
	int number, fd, family;
	bool is_blocked;
	struct stream *stream;
};

/* Datagrams of one size (the last may be shorter) for one peer, one after the other in the out area. */
struct run {
	struct plane_path path;
	size_t at, length;
	uint16_t size, count;
	bool is_closed;
	/* What sending it has taught: not to be cut by the kernel, perhaps for its size, not from our own address. */
	bool is_apart, is_too_large, is_sourceless;
};

/* Whether TUN's queue stands, and when a sender is told next. */
struct queue {
	bool is_standing;
	int64_t gap_ms, next_ms;
};

/* Whoever comes first has it first: a thread that takes its turns without a pause keeps nobody out. */
struct turns {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned int next, served;
};

struct side {
	struct plane *plane;
	struct turns turns;
	pthread_t thread;
	int epoll, wake_fd;
	int64_t now;
	uint64_t drops[DROP_REASONS];
};

struct plane {
	/* Configuration. `is_split`: each side has a thread. */
	bool is_mp, is_threaded, is_split, uses_local, client_to_client;
	int tun;
	unsigned int wanted;
	/* Each side finds out what the kernel does not take. */
	atomic_uint active;
	int mssfix;
	uint32_t peers_max, next_serial;
	int mtu;
	/* Runs of larger datagrams do not fit the path; the kernel fragments them one by one. */
	uint16_t run_size_max;
	struct key_limits limits;

	struct side rx, tx;
	/* Of rx: it holds tx, too. */
	bool has_tx;

	/* Changes with both held. */
	struct peer *peers;
	uint32_t peer_count;
	struct peer *by_id[BUCKETS], *by_path[BUCKETS];
	struct route *routes[BUCKETS];
	/* Routes there are of each length; the last are peers' own addresses. */
	uint32_t in_use4[34], in_use6[130];
	int64_t deadline_ms;
	struct plane_socket *sockets;
	/* Of tx. */
	bool is_blocked, is_broken;
	struct queue queue;

	/* Buffers: rx's are its area and flows. */
	uint8_t *rx_area, *out_area, *tun_area;
	size_t out_used, rx_used;
	struct run runs[RUNS_MAX];
	int run_count;
	struct flows *flows;
	struct batch *batch;
	int rx_slots;

	/* Events. */
	pthread_mutex_t events_lock;
	uint8_t *events;
	size_t events_used, events_size;
	int event_fd;

	atomic_bool is_ending;
};

/* plane_table.c: -errno as the kernel would say. Descriptions have been checked (src/plane/peers.ts). */
struct peer *plane_find(struct plane *plane, uint32_t peer_id);
struct peer *plane_find_by_path(struct plane *plane, const struct plane_path *path);
/* Of `length` 4 or 16 bytes. */
struct peer *plane_route(struct plane *plane, const uint8_t *ip, int length);
int plane_add_peer(struct plane *plane, struct peer *peer, const uint8_t *vpn4, const uint8_t *vpn6, const uint8_t *routes,
		   size_t length);
/* Takes the peer out and frees it, keys wiped; tells nobody. */
void plane_remove_peer(struct plane *plane, struct peer *peer);
/* NULL: unchanged; an unspecified address takes one away. */
int plane_set_addresses(struct plane *plane, struct peer *peer, const uint8_t *vpn4, const uint8_t *vpn6);
/* Replaces all; each is 18 bytes: length of the address, bits, address. */
int plane_set_routes(struct plane *plane, struct peer *peer, const uint8_t *routes, size_t length);
/* `first`: found before others on the same path. */
void plane_place(struct plane *plane, struct peer *peer, const struct plane_path *path, bool first);
bool plane_same_remote(const struct plane_path *a, const struct plane_path *b);

/* plane_packet.c */
void plane_drop(struct side *side, enum plane_drop reason);
/* What came from the network: data is decrypted in place, all else is for JavaScript. */
void plane_take_packet(struct plane *plane, const struct plane_path *from, uint8_t *packet, size_t length);
/* One with a data opcode. */
void plane_receive(struct plane *plane, const struct plane_path *from, uint8_t *datagram, size_t length);
/* Encrypts `payload` for a peer and puts it on its way; false: no key (any more). */
bool plane_transmit(struct plane *plane, struct peer *peer, const uint8_t *payload, size_t length);
/* A packet, or super-packet behind a virtio header, from TUN; the buffer is scratch afterwards. `tells`: its sender is to slow down. */
void plane_from_tun(struct plane *plane, uint8_t *frame, size_t length, bool tells);
/* Keepalive, when it is time. */
void plane_tick(struct plane *plane);
void plane_wake(struct plane *plane, const struct peer *peer);
void plane_delete(struct plane *plane, struct peer *peer, enum plane_del_reason reason);

/* plane_events.c. `is_notice`: there is always room. */
void plane_tell(struct plane *plane, enum plane_event type, const void *head, size_t head_length, const void *body,
		size_t length, bool is_notice);
/* False: there is much to be heard. What a peer can cause at will must not be told then, nor done. */
bool plane_can_tell(struct plane *plane);
int64_t plane_take(struct shim_call *call);

/* plane_send.c */
struct batch *send_batch_new(void);
/* Room for one datagram of `length` bytes to `path`, or NULL: it is dropped and counted. */
uint8_t *send_reserve(struct plane *plane, const struct plane_path *path, size_t length);
/* The reserved room is filled. */
void send_commit(struct plane *plane, const struct plane_path *path, size_t length);
/* Hands everything to the sockets; what does not fit stays, and is_blocked says so. */
void send_flush(struct plane *plane);
/* Whether a super-packet can be cut whole. */
bool send_has_room(const struct plane *plane);
/* Forgets what waits for a socket that goes away. */
void send_forget(struct plane *plane, int number);
struct plane_socket *plane_socket_find(struct plane *plane, int number);

/* plane_queue.c: nothing waits in TUN. */
void queue_emptied(struct queue *queue);
/* A packet was read: whether its sender is to slow down. */
bool queue_tells(struct queue *queue, int64_t now);

/* plane_stream.c */
struct stream *stream_new(const struct plane_path *path, size_t record_max);
void stream_free(struct stream *stream);
void stream_read(struct plane *plane, struct plane_socket *socket);
/* Records with their lengths in front; data may be dropped whole, control ends the connection instead. */
void stream_write(struct plane *plane, struct plane_socket *socket, const uint8_t *bytes, size_t length,
		  bool is_data);
void stream_flush(struct plane *plane, struct plane_socket *socket);
bool stream_is_ended(const struct stream *stream);
/* For room in the socket. */
bool stream_waits(const struct stream *stream);

/* plane_turn.c */
void plane_init_sides(struct plane *plane);
void plane_free_sides(struct plane *plane);
/* Both sides, for a command. Unlocking sends what was made. */
void plane_lock(struct plane *plane);
void plane_unlock(struct plane *plane);
/* A turn of the thread of one side. */
void plane_begin_turn(struct side *side);
void plane_end_turn(struct side *side);
/* Whoever holds rx gets tx, too, and keeps it until the end of the turn. */
void plane_hold_tx(struct plane *plane);
/* Without a thread. */
void plane_set_now(struct plane *plane, int64_t now);

/* plane_io.c */
int plane_start(struct plane *plane);
void plane_stop(struct plane *plane);
int64_t plane_clock(void);
/* A frame on its way to TUN; without a thread it becomes an event. */
int plane_write_frame(void *context, const struct iovec *parts, int count);
/* Watches a socket; `is_blocked` adds writability. */
int plane_watch(struct plane *plane, struct plane_socket *socket, bool is_new);
void plane_unwatch(struct plane *plane, struct plane_socket *socket);
/* Probes and sets what sockets and TUN can do. */
void plane_probe_socket(struct plane *plane, int fd);

#endif
