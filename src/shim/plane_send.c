/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams on their way out. They are encrypted into one area, one behind the other; those of one size for one peer make
 * a run, which the kernel takes as one message and cuts itself (UDP_SEGMENT). What a socket has no room for stays where
 * it is until it has, and TUN is not read meanwhile.
 */
#include <netinet/in.h>
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

const size_t send_batch_size = sizeof(struct batch);

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
			size_t length, bool is_cut, bool has_source)
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
	if (is_cut)
		add_control(message, IPPROTO_UDP, UDP_SEGMENT, &run->size, sizeof(run->size));
	if (has_source && block[1])
		add_source(message, &run->path, socket->family, scope);
	if (message->msg_controllen == 0)
		message->msg_control = NULL;
}

/*
 * One datagram after the other, for kernels, paths and moments that take no runs; false: the socket is full.
 * `has_source` becomes false when our own address is gone.
 */
static bool send_apart(struct plane *plane, struct plane_socket *socket, struct run *run, bool *has_source)
{
	struct batch *batch = plane->batch;

	while (run->length > 0) {
		size_t part = run->length < run->size ? run->length : run->size;

		batch->count = 0;
		add_message(batch, socket, run, plane->out_area + run->at, part, false, *has_source);
		if (sendmsg(socket->fd, &batch->messages[0].msg_hdr, MSG_NOSIGNAL) < 0) {
			if (errno == EAGAIN)
				return false;
			/* Our own address went away: any other is better than silence. */
			if (*has_source && (errno == EINVAL || errno == EADDRNOTAVAIL) && run->path.block[1]) {
				*has_source = false;
				continue;
			}
			plane_drop(&plane->tx, DROP_SEND);
		}
		run->at += part;
		run->length -= part;
	}
	return true;
}

/* What a failed message tells about the run; false: the socket is full. */
static bool on_failure(struct plane *plane, struct plane_socket *socket, struct run *run, int error)
{
	bool has_source = true, is_too_large, is_done;
	uint16_t size;

	if (error == EAGAIN)
		return false;
	/* Egress devices without checksums (kernels before 6.11) and kernels without UDP_SEGMENT. */
	if (run->count > 1 && (error == EIO || error == EOPNOTSUPP || error == ENOPROTOOPT))
		plane->active &= ~FEATURE_TX_GSO;
	if (error == ENOBUFS || error == ENOMEM) {
		plane->tx.drops[DROP_SEND] += run->count;
		run->length = 0;
		return true;
	}
	/* EINVAL, EMSGSIZE: segments above the path MTU, which the kernel fragments only one by one. */
	is_too_large = run->count > 1 && (error == EINVAL || error == EMSGSIZE);
	size = run->size;
	is_done = send_apart(plane, socket, run, &has_source);
	if (is_too_large && has_source && size <= plane->run_size_max)
		plane->run_size_max = size - 1;
	return is_done;
}

/* Messages of runs `first`... that go to the same UDP socket; how many runs they are. */
static int collect(struct plane *plane, struct plane_socket *socket, int first)
{
	struct batch *batch = plane->batch;
	bool cuts = plane->active & FEATURE_TX_GSO;
	int next = first;

	batch->count = 0;
	for (; next < plane->run_count; next++) {
		struct run *run = &plane->runs[next];

		if (run->path.socket != socket->number || run->path.tcp)
			break;
		if (cuts && run->size <= plane->run_size_max) {
			if (batch->count == MESSAGES)
				break;
			add_message(batch, socket, run, plane->out_area + run->at, run->length, run->count > 1, true);
			continue;
		}
		if (batch->count + run->count > MESSAGES)
			break;
		for (size_t at = 0; at < run->length; at += run->size)
			add_message(batch, socket, run, plane->out_area + run->at + at,
				    run->length - at < run->size ? run->length - at : run->size, false, true);
	}
	return next - first;
}

/* A message has gone. */
static void account(struct run *run, size_t length)
{
	run->at += length;
	run->length -= length;
}

/* Sends what goes to one UDP socket from run `first` on; how many runs are done, negative: it is full. */
static int send_runs(struct plane *plane, struct plane_socket *socket, int first)
{
	struct batch *batch = plane->batch;
	int runs = collect(plane, socket, first), sent;

	for (int done = 0; done < batch->count;) {
		sent = sendmmsg(socket->fd, batch->messages + done, batch->count - done, MSG_NOSIGNAL);
		if (sent > 0) {
			for (int i = done; i < done + sent; i++)
				account(batch->runs[i], batch->parts[i].iov_len);
			done += sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		/* Uses the batch: what was collected is collected again from the runs that are left. */
		if (!on_failure(plane, socket, batch->runs[done], errno))
			return -1;
		break;
	}
	for (int i = 0; i < runs; i++)
		if (plane->runs[first + i].length > 0)
			return i;
	return runs;
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
	int first = 0, done;

	plane->is_blocked = false;
	while (first < plane->run_count) {
		struct run *run = &plane->runs[first];
		struct plane_socket *socket = plane_socket_find(plane, run->path.socket);

		if (!plane->is_threaded) {
			emit(plane, run);
		} else if (run->length == 0 || !socket || (run->path.tcp && !socket->stream)) {
			/* Gone: lost, as on a wire. */
		} else if (run->path.tcp) {
			stream_write(plane, socket, plane->out_area + run->at, run->length, true);
		} else {
			done = send_runs(plane, socket, first);
			if (done < 0) {
				plane->is_blocked = socket->is_blocked = true;
				plane_watch(plane, socket, false);
				break;
			}
			first += done;
			continue;
		}
		first++;
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
