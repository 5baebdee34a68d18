/* SPDX-License-Identifier: Apache-2.0 */
/* The native data plane as JavaScript calls it: its life, its sockets, and packets where there is no thread. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "plane_commands.h"

/* For a millisecond or two without a processor at a few Gbit/s; a small router has less to lose. */
#define SOCKET_BUFFER_MIN (512 * 1024)
#define SOCKET_BUFFER_MAX (2048 * 1024)
#define MEMORY_PART 512

int64_t plane_locked(struct shim_call *call, plane_command run)
{
	struct plane *plane = call->object;
	int64_t status;

	plane_lock(plane);
	status = run(plane, call);
	plane_unlock(plane);
	return status;
}

static void free_plane(struct plane *plane)
{
	struct plane_socket *socket;

	plane_stop(plane);
	while (plane->peers)
		plane_remove_peer(plane, plane->peers);
	while ((socket = plane->sockets)) {
		plane->sockets = socket->next;
		stream_free(socket->stream);
		free(socket);
	}
	free(plane->events);
	if (plane->event_fd >= 0)
		close(plane->event_fd);
	plane_free_sides(plane);
	pthread_mutex_destroy(&plane->events_lock);
	flows_free(plane->flows);
	free(plane->batch);
	free(plane->rx_area);
	free(plane->out_area);
	free(plane->tun_area);
	free(plane);
}

static int64_t open_plane(struct shim_call *call)
{
	const union shim_value *in = call->in;
	double limits[KEY_LIMITS];
	struct plane *plane;
	int64_t handle = -ENOMEM;
	int status = 0;

	if (in[6].bytes.length != sizeof(limits))
		return -EINVAL;
	plane = calloc(1, sizeof(*plane));
	if (!plane)
		return -ENOMEM;
	memcpy(limits, in[6].bytes.data, sizeof(limits));
	plane->limits = (struct key_limits){ limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6] };
	plane->is_mp = in[0].number;
	plane->is_threaded = in[1].number >= 0;
	plane->tun = plane->is_threaded ? shim_tun_descriptor(in[1].number) : -1;
	plane->wanted = in[2].number;
	plane->mssfix = in[3].number;
	plane->uses_local = in[4].number;
	plane->peers_max = in[5].number;
	plane->deadline_ms = -1;
	plane->client_to_client = plane->is_mp && in[8].number;
	plane->mtu = in[7].number;
	plane->is_split = plane->is_threaded && in[9].number > 1;
	plane->run_size_max = UINT16_MAX;
	plane->rx_slots = 4;
	plane->events_size = EVENTS_AREA;
	plane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	plane->rx_area = malloc(RX_AREA);
	plane->out_area = malloc(OUT_AREA);
	plane->tun_area = malloc(TUN_READ_MAX);
	plane->events = malloc(plane->events_size);
	plane->flows = flows_new(plane_write_frame, plane);
	plane->batch = send_batch_new();
	plane_init_sides(plane);
	pthread_mutex_init(&plane->events_lock, NULL);
	if (plane->event_fd < 0 || !plane->rx_area || !plane->out_area || !plane->tun_area || !plane->events ||
	    !plane->flows || !plane->batch)
		status = -ENOMEM;
	else if (plane->is_threaded)
		status = plane->tun < 0 ? -EBADF : plane_start(plane);
	else
		flows_join(plane->flows, plane->wanted & FEATURE_TUN_GRO, plane->wanted & FEATURE_TUN_USO);
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
	return ((struct plane *)call->object)->event_fd;
}

/* ---- sockets */

/* Bytes for what waits to be received, by the memory of the machine. */
static int receive_buffer(void)
{
	struct sysinfo info;
	uint64_t size;

	if (sysinfo(&info) < 0)
		return SOCKET_BUFFER_MIN;
	size = (uint64_t)info.totalram * info.mem_unit / MEMORY_PART;
	return size < SOCKET_BUFFER_MIN ? SOCKET_BUFFER_MIN : size > SOCKET_BUFFER_MAX ? SOCKET_BUFFER_MAX : size;
}

/* Owned by the plane from here. */
static int64_t take_socket(struct plane *plane, struct plane_socket *socket)
{
	int status = plane_watch(plane, socket, true);

	if (status < 0) {
		stream_free(socket->stream);
		free(socket);
		return status;
	}
	socket->next = plane->sockets;
	plane->sockets = socket;
	return 0;
}

/* plane, number, descriptor, family (4 or 6), tunes */
static int64_t do_add_socket(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_socket *socket = calloc(1, sizeof(*socket));
	int size = receive_buffer(), send_size = SOCKET_BUFFER_MIN;

	if (!socket)
		return -ENOMEM;
	socket->number = in[1].number;
	socket->fd = in[2].number;
	socket->family = in[3].number == 4 ? AF_INET : AF_INET6;
	plane_probe_socket(plane, socket->fd);
	/* The usual 208 KB hold two super-packets; only root may have more than the system's limit. */
	if (in[4].number && setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_size, sizeof(send_size)) == 0)
		setsockopt(socket->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return take_socket(plane, socket);
}
static COMMAND(add_socket)

/* plane, descriptor, path, longest record */
static int64_t do_add_stream(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_socket *socket;
	struct plane_path path;

	if (!plane_read_path(&path, in + 2) || in[3].number <= 0 || in[3].number > DATAGRAM_MAX)
		return -EINVAL;
	socket = calloc(1, sizeof(*socket));
	if (!socket)
		return -ENOMEM;
	socket->number = path.socket;
	socket->fd = in[1].number;
	socket->stream = stream_new(&path, in[3].number);
	if (socket->stream)
		return take_socket(plane, socket);
	free(socket);
	return -ENOMEM;
}
static COMMAND(add_stream)

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
static COMMAND(send_record)

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
static COMMAND(remove_socket)

/* ---- without a thread */

static void flush_frames(struct plane *plane)
{
	flows_flush(plane->flows);
	plane->rx_used = 0;
}

/* plane, path, datagram, now */
static int64_t do_take_datagram(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct plane_path path;

	if (plane->is_threaded || !plane_read_path(&path, in + 1) || in[2].bytes.length > DATAGRAM_MAX)
		return -EINVAL;
	plane_set_now(plane, in[3].number);
	/* Decrypted in place: not in JavaScript's bytes. What is joined lies there until the next tick. */
	if (plane->rx_used + in[2].bytes.length > RX_AREA)
		flush_frames(plane);
	memcpy(plane->rx_area + plane->rx_used, in[2].bytes.data, in[2].bytes.length);
	plane_receive(plane, &path, plane->rx_area + plane->rx_used, in[2].bytes.length);
	plane->rx_used += in[2].bytes.length;
	return 0;
}
static COMMAND(take_datagram)

/* plane, virtio header and packet, now, tells */
static int64_t do_take_frame(struct plane *plane, struct shim_call *call)
{
	const union shim_value *in = call->in;

	if (plane->is_threaded || in[1].bytes.length > TUN_READ_MAX)
		return -EINVAL;
	plane_set_now(plane, in[2].number);
	memcpy(plane->tun_area, in[1].bytes.data, in[1].bytes.length);
	plane_from_tun(plane, plane->tun_area, in[1].bytes.length, in[3].number);
	return 0;
}
static COMMAND(take_frame)

static int64_t do_step(struct plane *plane, struct shim_call *call)
{
	if (plane->is_threaded)
		return -EINVAL;
	flush_frames(plane);
	plane_set_now(plane, call->in[1].number);
	plane_tick(plane);
	return 0;
}
static COMMAND(step)

/* -1: none */
static int64_t do_deadline(struct plane *plane, struct shim_call *call)
{
	int64_t deadline = plane->deadline_ms;

	(void)call;
	shim_result_numbers(call, &deadline, 1);
	return 0;
}
static COMMAND(deadline)

const struct shim_entry shim_plane[] = {
	{ "plane_open", open_plane,
	  "i:isMany i:tun i:features i:mssfix i:usesLocal i:peersMax b:limits i:mtu i:clientToClient i:threads" },
	{ "plane_close", close_plane, "i:plane" },
	{ "plane_fd", events_fd, "i:plane", SHIM_PLANE },
	{ "plane_take", plane_take, "i:plane b:buffer", SHIM_PLANE },
	{ "plane_add_peer", plane_new_peer,
	  "i:plane i:peerId i:txId i:isV1 b:path B:vpnIp4 B:vpnIp6 B:routes i:interval i:timeout i:now", SHIM_PLANE },
	{ "plane_set_peer", plane_change_peer, "i:plane i:peerId B:path B:vpnIp4 B:vpnIp6 B:routes i:interval i:timeout i:now", SHIM_PLANE },
	{ "plane_del_peer", plane_delete_peer, "i:plane i:peerId", SHIM_PLANE },
	{ "plane_add_key", plane_add_key,
	  "i:plane i:peerId i:slot i:keyId s:cipher i:isEpoch b:encryptKey b:encryptTail b:decryptKey b:decryptTail i:rekeyPackets i:rekeyBytes", SHIM_PLANE },
	{ "plane_swap_keys", plane_swap_keys, "i:plane i:peerId", SHIM_PLANE },
	{ "plane_del_key", plane_delete_key, "i:plane i:peerId i:slot", SHIM_PLANE },
	{ "plane_send_inner", plane_send_inner, "i:plane i:peerId b:payload i:now", SHIM_PLANE },
	{ "plane_peers", plane_list_peers, "i:plane", SHIM_PLANE },
	{ "plane_show", plane_show, "i:plane", SHIM_PLANE },
	{ "plane_add_socket", plane_add_socket, "i:plane i:number i:descriptor i:family i:tunes", SHIM_PLANE },
	{ "plane_add_stream", plane_add_stream, "i:plane i:descriptor b:path i:recordMax", SHIM_PLANE },
	{ "plane_send_record", plane_send_record, "i:plane i:number b:record", SHIM_PLANE },
	{ "plane_remove_socket", plane_remove_socket, "i:plane i:number", SHIM_PLANE },
	{ "plane_from_network", plane_take_datagram, "i:plane b:path b:datagram i:now", SHIM_PLANE },
	{ "plane_from_tun", plane_take_frame, "i:plane b:frame i:now i:tells", SHIM_PLANE },
	{ "plane_tick", plane_step, "i:plane i:now", SHIM_PLANE },
	{ "plane_deadline", plane_deadline, "i:plane", SHIM_PLANE },
	{ 0 },
};
