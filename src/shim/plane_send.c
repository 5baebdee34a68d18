/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams on their way out. They are encrypted into one area, one behind the other; those of one size for one peer make
 * a run, which the kernel takes as one message and cuts itself (UDP_SEGMENT). What a socket has no room for stays where
 * it is until it has, and TUN is not read meanwhile.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "address.h"
#include "plane.h"

#define MESSAGES 64

struct batch {
	struct mmsghdr messages[MESSAGES];
	struct sockaddr_storage to[MESSAGES];
	struct iovec parts[MESSAGES];
	union {
		char room[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control[MESSAGES];
	/* Which run each message is of. */
	struct run *runs[MESSAGES];
	int count;
};

struct batch *send_batch_new(void)
{
	return calloc(1, sizeof(struct batch));
}

struct plane_socket *plane_socket_find(struct plane *plane, int number)
{
	struct plane_socket *socket = plane->sockets;

	while (socket && socket->number != number)
		socket = socket->next;
	return socket;
}

bool send_has_room(const struct plane *plane)
{
	return !plane->is_blocked && OUT_AREA - plane->out_used >= OUT_RESERVE && plane->run_count < RUNS_MAX / 2;
}

uint8_t *send_reserve(struct plane *plane, const struct plane_path *path, size_t length)
{
	size_t ahead = path->tcp ? RECORD_HEADER : 0;

	if (length > DATAGRAM_MAX - 64) {
		plane_drop(&plane->tx, DROP_SEND);
		return NULL;
	}
	if (plane->out_used + ahead + length > OUT_AREA || plane->run_count == RUNS_MAX)
		send_flush(plane);
	if (plane->out_used + ahead + length > OUT_AREA || plane->run_count == RUNS_MAX) {
		plane_drop(&plane->tx, DROP_SEND);
		return NULL;
	}
	return plane->out_area + plane->out_used + ahead;
}

static bool continues(const struct run *run, const struct plane_path *path, size_t length)
{
	return !run->is_closed && run->count < SEGMENTS_MAX && run->length + length <= RUN_BYTES_MAX &&
	       length <= run->size && memcmp(&run->path, path, sizeof(*path)) == 0;
}

void send_commit(struct plane *plane, const struct plane_path *path, size_t length)
{
	struct run *run = plane->run_count ? &plane->runs[plane->run_count - 1] : NULL;

	if (path->tcp) {
		uint8_t *record = plane->out_area + plane->out_used;

		record[0] = length >> 8;
		record[1] = length;
		length += RECORD_HEADER;
	}
	if (!run || !continues(run, path, length)) {
		run = &plane->runs[plane->run_count++];
		*run = (struct run){ .path = *path, .at = plane->out_used, .size = length };
	}
	run->length += length;
	run->count++;
	run->is_closed = !path->tcp && length < run->size;
	/* Records of a stream may have any size. */
	if (path->tcp)
		run->size = UINT16_MAX;
	plane->out_used += length;
}

/* ---- messages */

static void add_control(struct msghdr *message, int level, int type, const void *data, size_t length)
{
	struct cmsghdr *header = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);

	header->cmsg_level = level;
	header->cmsg_type = type;
	header->cmsg_len = CMSG_LEN(length);
	memcpy(CMSG_DATA(header), data, length);
	message->msg_controllen += CMSG_SPACE(length);
}

/* The own address to answer from. */
static void add_source(struct msghdr *message, const struct plane_path *path, int family, uint32_t scope)
{
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info = { 0 };
	const uint8_t *ip = path->block + 24;

	if (family == AF_INET) {
		memcpy(&info.ipi_spec_dst, ip, 4);
		add_control(message, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
		return;
	}
	if (path->block[1] == 4)
		address_map(&info6.ipi6_addr, ip);
	else
		memcpy(&info6.ipi6_addr, ip, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&info6.ipi6_addr))
		info6.ipi6_ifindex = scope;
	add_control(message, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

static void add_message(struct batch *batch, const struct plane_socket *socket, struct run *run, uint8_t *bytes,
			size_t length)
{
	const uint8_t *block = run->path.block;
	uint32_t scope = (uint32_t)block[4] << 24 | block[5] << 16 | block[6] << 8 | block[7];
	int i = batch->count++;
	struct msghdr *message = &batch->messages[i].msg_hdr;

	batch->runs[i] = run;
	batch->parts[i] = (struct iovec){ bytes, length };
	memset(&batch->control[i], 0, sizeof(batch->control[i]));
	*message = (struct msghdr){ .msg_name = &batch->to[i], .msg_iov = &batch->parts[i], .msg_iovlen = 1,
				    .msg_control = &batch->control[i] };
	message->msg_namelen = address_load(&batch->to[i], socket->family, block + 8, block[0], block[2] << 8 | block[3], scope);
	if (length > run->size)
		add_control(message, IPPROTO_UDP, UDP_SEGMENT, &run->size, sizeof(run->size));
	if (block[1] && !run->is_sourceless)
		add_source(message, &run->path, socket->family, scope);
	if (message->msg_controllen == 0)
		message->msg_control = NULL;
}

static void account(struct run *run, size_t length)
{
	run->at += length;
	run->length -= length;
}

/* What a failed message tells of its run; false: the socket is full. */
static bool recover(struct plane *plane, struct run *run, size_t length, int error)
{
	bool was_cut = length > run->size;

	if (error == EAGAIN || error == EINTR)
		return error == EINTR;
	/* Egress devices without checksums (kernels before 6.11) and kernels without UDP_SEGMENT. */
	if (was_cut && (error == EIO || error == EOPNOTSUPP || error == ENOPROTOOPT))
		plane->active &= ~FEATURE_TX_GSO;
	if (was_cut && error != ENOBUFS && error != ENOMEM) {
		run->is_apart = true;
		/* Perhaps: segments above the path MTU, which the kernel fragments only one by one. */
		run->is_too_large = error == EINVAL || error == EMSGSIZE;
		return true;
	}
	/* Our own address went away: any other is better than silence. */
	if (!was_cut && !run->is_sourceless && run->path.block[1] && (error == EINVAL || error == EADDRNOTAVAIL)) {
		run->is_sourceless = true;
		return true;
	}
	plane->tx.drops[DROP_SEND] += (length + run->size - 1) / run->size;
	account(run, length);
	return true;
}

static void on_sent(struct plane *plane, struct run *run, size_t length)
{
	if (run->is_too_large && !run->is_sourceless && run->size <= plane->run_size_max)
		plane->run_size_max = run->size - 1;
	account(run, length);
}

/* What goes to the UDP socket of run `first`, as many messages as there may be; how many. */
static int collect(struct plane *plane, struct plane_socket *socket, int first)
{
	struct batch *batch = plane->batch;

	batch->count = 0;
	for (int next = first; next < plane->run_count; next++) {
		struct run *run = &plane->runs[next];
		bool is_cut = plane->active & FEATURE_TX_GSO && run->size <= plane->run_size_max && !run->is_apart;
		size_t most = is_cut ? run->length : run->size, part;

		if (run->path.socket != socket->number || run->path.tcp)
			break;
		for (size_t at = 0; at < run->length; at += part) {
			if (batch->count == MESSAGES)
				return MESSAGES;
			part = run->length - at < most ? run->length - at : most;
			add_message(batch, socket, run, plane->out_area + run->at + at, part);
		}
	}
	return batch->count;
}

/* False: the socket is full. */
static bool send_datagrams(struct plane *plane, struct plane_socket *socket, int first)
{
	struct batch *batch = plane->batch;
	int count, sent;

	while ((count = collect(plane, socket, first)) > 0) {
		sent = sendmmsg(socket->fd, batch->messages, count, MSG_NOSIGNAL);
		if (sent < 0 && !recover(plane, batch->runs[0], batch->parts[0].iov_len, errno))
			return false;
		for (int i = 0; i < sent; i++)
			on_sent(plane, batch->runs[i], batch->parts[i].iov_len);
	}
	return true;
}

static void emit(struct plane *plane, struct run *run)
{
	size_t skip = run->path.tcp ? RECORD_HEADER : 0;

	while (run->length > 0) {
		uint8_t *bytes = plane->out_area + run->at;
		size_t part = run->path.tcp ? (size_t)(bytes[0] << 8 | bytes[1]) + skip : run->length < run->size ? run->length : run->size;

		plane_tell(plane, EVENT_SEND, &run->path, PATH_LENGTH, bytes + skip, part - skip, true);
		account(run, part);
	}
}

void send_flush(struct plane *plane)
{
	int first = 0;

	plane->is_blocked = false;
	for (; first < plane->run_count; first++) {
		struct run *run = &plane->runs[first];
		struct plane_socket *socket = plane_socket_find(plane, run->path.socket);

		if (!plane->is_threaded) {
			emit(plane, run);
		} else if (run->length == 0 || !socket || (run->path.tcp && !socket->stream)) {
			/* Sent already, or gone: lost, as on a wire. */
		} else if (run->path.tcp) {
			stream_write(plane, socket, plane->out_area + run->at, run->length, true);
		} else if (!send_datagrams(plane, socket, first)) {
			plane->is_blocked = socket->is_blocked = true;
			plane_watch(plane, socket, false);
			break;
		}
	}
	plane->run_count -= first;
	memmove(plane->runs, plane->runs + first, plane->run_count * sizeof(*plane->runs));
	if (plane->run_count == 0)
		plane->out_used = 0;
}

void send_forget(struct plane *plane, int number)
{
	for (int i = 0; i < plane->run_count; i++)
		if (plane->runs[i].path.socket == number)
			plane->runs[i].length = 0;
	send_flush(plane);
}
