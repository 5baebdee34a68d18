/* SPDX-License-Identifier: Apache-2.0 */
/* The data threads: they wait for TUN, sockets and the next keepalive, and serve what is ready in turns. */
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "plane.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define EVENTS 32
/* One turn takes so much from TUN before sockets get theirs, and so many rounds from a socket. */
#define TUN_READS 64
#define TUN_BYTES (256 * 1024)
#define SOCKET_ROUNDS 4
#define BURST_MIN 8192
#define SLOTS_MAX 32
#define STACK_SIZE (128 * 1024)

int64_t plane_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* ---- watching */

static int control(const struct side *side, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(side->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int plane_watch(struct plane *plane, struct plane_socket *socket, bool is_new)
{
	bool is_ended = socket->stream && stream_is_ended(socket->stream);
	bool waits = socket->is_blocked || (socket->stream && stream_waits(socket->stream));

	if (!plane->is_threaded)
		return 0;
	/* Errors are always told: whoever cannot take them must not watch. */
	if (plane->is_split)
		control(&plane->tx, waits && !is_ended ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket->fd, EPOLLOUT);
	if (is_ended)
		return control(&plane->rx, EPOLL_CTL_DEL, socket->fd, 0);
	if (plane->is_split && !is_new)
		return 0;
	return control(&plane->rx, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket->fd,
		       EPOLLIN | (waits && !plane->is_split ? EPOLLOUT : 0));
}

void plane_unwatch(struct plane *plane, struct plane_socket *socket)
{
	if (!plane->is_threaded)
		return;
	control(&plane->rx, EPOLL_CTL_DEL, socket->fd, 0);
	if (plane->is_split)
		control(&plane->tx, EPOLL_CTL_DEL, socket->fd, 0);
}

/* The side whose thread reads TUN. */
static struct side *sender(struct plane *plane)
{
	return plane->is_split ? &plane->tx : &plane->rx;
}

/* ---- TUN */

static void break_down(struct plane *plane, int error)
{
	int32_t number = error;

	if (plane->is_broken)
		return;
	plane->is_broken = true;
	control(sender(plane), EPOLL_CTL_DEL, plane->tun, 0);
	plane_tell(plane, EVENT_BROKEN, &number, sizeof(number), NULL, 0, true);
}

static void read_tun(struct plane *plane)
{
	size_t bytes = 0;

	for (int i = 0; i < TUN_READS && bytes < TUN_BYTES; i++) {
		ssize_t length;

		if (!send_has_room(plane))
			send_flush(plane);
		/* The kernel keeps what does not fit: that slows the senders down. */
		if (!send_has_room(plane))
			return;
		length = read(plane->tun, plane->tun_area, TUN_READ_MAX);
		if (length < 0) {
			if (errno == EBADFD || errno == ENODEV || errno == EBADF)
				break_down(plane, errno);
			queue_emptied(&plane->queue);
			return;
		}
		plane_from_tun(plane, plane->tun_area, length, queue_tells(&plane->queue, plane->tx.now));
		/* The other end begins with the first part of a burst while the next is sealed. */
		if (bytes == 0 && length >= BURST_MIN)
			send_flush(plane);
		bytes += length;
	}
}

/* Without a thread. */
static int tell_frame(struct plane *plane, const struct iovec *parts, int count)
{
	size_t length = 0;

	for (int i = 0; i < count; i++) {
		memcpy(plane->tun_area + length, parts[i].iov_base, parts[i].iov_len);
		length += parts[i].iov_len;
	}
	plane_tell(plane, EVENT_DELIVER, plane->tun_area, length, NULL, 0, true);
	return 0;
}

int plane_write_frame(void *context, const struct iovec *parts, int count)
{
	struct plane *plane = context;
	uint8_t gso = ((const uint8_t *)parts[0].iov_base)[1];

	if (!plane->is_threaded)
		return tell_frame(plane, parts, count);
	if (writev(plane->tun, parts, count) >= 0)
		return 0;
	/* Some kernels take no super-packets although they say so; never again, then. */
	if (errno == EINVAL && gso) {
		plane->active &= gso == GSO_UDP_L4 ? ~FEATURE_TUN_USO : ~FEATURE_TUN_GRO;
		flows_join(plane->flows, plane->active & FEATURE_TUN_GRO, plane->active & FEATURE_TUN_USO);
		return -EINVAL;
	}
	plane->rx.drops[DROP_TUN] += count;
	return 0;
}

/* ---- UDP */

void plane_probe_socket(struct plane *plane, int fd)
{
	int one = 1, value = 0;
	socklen_t size = sizeof(value);

	if (plane->active & FEATURE_RX_GRO && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) < 0)
		plane->active &= ~FEATURE_RX_GRO;
	if (getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &size) < 0)
		plane->active &= ~FEATURE_TX_GSO;
	/* Super-packets fill a slot; without them more slots take more datagrams at once. */
	plane->rx_slots = plane->active & FEATURE_RX_GRO || plane->mtu > RX_AREA / SLOTS_MAX - 256 ? 4 : SLOTS_MAX;
}

union receive_control {
	char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct cmsghdr align;
};

/* Where the datagrams of a message came from; the size of all but the last, 0: it is one. */
static size_t read_control(struct plane *plane, struct plane_socket *socket, struct msghdr *message,
			   const struct sockaddr_storage *from, struct plane_path *path)
{
	size_t size = 0;
	int number;

	memset(path, 0, sizeof(*path));
	path->socket = socket->number;
	address_store(path->block, from);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&number, CMSG_DATA(c), sizeof(number));
			size = number > 0 ? number : 0;
		} else if (!plane->uses_local) {
			continue;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			path->block[1] = address_put(path->block + 24, &((struct in_pktinfo *)CMSG_DATA(c))->ipi_spec_dst, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			path->block[1] = address_put(path->block + 24, &((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr, 16);
		}
	}
	return size;
}

/* How many messages were there. */
static int read_udp(struct plane *plane, struct plane_socket *socket)
{
	struct mmsghdr messages[SLOTS_MAX];
	struct sockaddr_storage from[SLOTS_MAX];
	union receive_control controls[SLOTS_MAX];
	struct iovec parts[SLOTS_MAX];
	size_t room = RX_AREA / plane->rx_slots;
	struct plane_path path;
	int count;

	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < plane->rx_slots; i++) {
		parts[i] = (struct iovec){ plane->rx_area + i * room, room };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof(from[i]),
						       .msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = &controls[i],
						       .msg_controllen = sizeof(controls[i]) };
	}
	count = recvmmsg(socket->fd, messages, plane->rx_slots, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		size_t length = messages[i].msg_len, size, part;

		if (messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
			plane_drop(&plane->rx, DROP_SHORT);
			continue;
		}
		size = read_control(plane, socket, &messages[i].msg_hdr, &from[i], &path);
		size = size ? size : length;
		for (size_t at = 0; at < length || at == 0; at += part) {
			part = length - at < size ? length - at : size;
			plane_take_packet(plane, &path, plane->rx_area + i * room + at, part);
			if (part == 0)
				break;
		}
	}
	/* Packets still lie in the area that the next round fills. */
	flows_flush(plane->flows);
	return count;
}

/* ---- the thread */

static void serve(struct side *side, int fd, uint32_t events)
{
	struct plane *plane = side->plane;
	bool sends = side == sender(plane), receives = side == &plane->rx;
	struct plane_socket *socket = plane->sockets;
	uint64_t ignored;

	if (fd == side->wake_fd) {
		while (read(fd, &ignored, sizeof(ignored)) > 0)
			;
		return;
	}
	if (fd == plane->tun) {
		if (events & EPOLLERR && !(events & EPOLLIN))
			break_down(plane, ENODEV);
		else
			read_tun(plane);
		return;
	}
	while (socket && socket->fd != fd)
		socket = socket->next;
	if (!socket)
		return;
	if (socket->stream) {
		if (sends && events & ~EPOLLIN)
			stream_flush(plane, socket);
		if (receives) {
			stream_read(plane, socket);
			flows_flush(plane->flows);
		}
		return;
	}
	if (sends && events & ~EPOLLIN && socket->is_blocked) {
		socket->is_blocked = false;
		plane_watch(plane, socket, false);
		send_flush(plane);
	}
	if (receives && events & (EPOLLIN | EPOLLERR))
		for (int i = 0; i < SOCKET_ROUNDS && read_udp(plane, socket) >= plane->rx_slots; i++)
			;
}

static int timeout_of(const struct plane *plane)
{
	int64_t left = plane->deadline_ms - plane_clock();

	return plane->deadline_ms < 0 ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : left;
}

/* TUN is not read while a socket is full. */
static void pause_tun(struct plane *plane, bool *is_paused)
{
	if (plane->is_broken || plane->is_blocked == *is_paused)
		return;
	control(sender(plane), EPOLL_CTL_MOD, plane->tun, plane->is_blocked ? 0 : EPOLLIN);
	*is_paused = plane->is_blocked;
}

static void *run(void *argument)
{
	struct side *side = argument;
	struct plane *plane = side->plane;
	struct epoll_event events[EVENTS];
	bool is_paused = false;
	int timeout = -1, ready;

	while (!atomic_load(&plane->is_ending)) {
		ready = epoll_wait(side->epoll, events, EVENTS, timeout);
		plane_begin_turn(side);
		for (int i = 0; i < ready; i++)
			serve(side, events[i].data.fd, events[i].events);
		if (side == &plane->rx) {
			plane_tick(plane);
			timeout = timeout_of(plane);
		}
		if (side == sender(plane)) {
			send_flush(plane);
			pause_tun(plane, &is_paused);
		}
		plane_end_turn(side);
	}
	return NULL;
}

/* What TUN takes and gives, best first. */
static void probe_tun(struct plane *plane)
{
	unsigned int tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	plane->active = plane->wanted;
	if (plane->active & FEATURE_TUN_TSO && plane->active & FEATURE_TUN_USO &&
	    ioctl(plane->tun, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
		return;
	plane->active &= ~FEATURE_TUN_USO;
	if (plane->active & FEATURE_TUN_TSO && ioctl(plane->tun, TUNSETOFFLOAD, tso) == 0)
		return;
	plane->active &= ~FEATURE_TUN_TSO;
	ioctl(plane->tun, TUNSETOFFLOAD, TUN_F_CSUM);
}

static int start_side(struct side *side)
{
	pthread_attr_t attributes;
	int status;

	side->epoll = epoll_create1(EPOLL_CLOEXEC);
	side->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (side->epoll < 0 || side->wake_fd < 0)
		return -errno;
	status = control(side, EPOLL_CTL_ADD, side->wake_fd, EPOLLIN);
	if (status == 0 && side == sender(side->plane))
		status = control(side, EPOLL_CTL_ADD, side->plane->tun, EPOLLIN);
	if (status < 0)
		return status;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	status = pthread_create(&side->thread, &attributes, run, side);
	pthread_attr_destroy(&attributes);
	return -status;
}

int plane_start(struct plane *plane)
{
	int status;

	probe_tun(plane);
	flows_join(plane->flows, plane->active & FEATURE_TUN_GRO, plane->active & FEATURE_TUN_USO);
	status = start_side(&plane->rx);
	return status == 0 && plane->is_split ? start_side(&plane->tx) : status;
}

void plane_stop(struct plane *plane)
{
	struct side *sides[] = { &plane->rx, &plane->tx };

	atomic_store(&plane->is_ending, true);
	for (int i = 0; i < 2; i++) {
		if (sides[i]->thread) {
			eventfd_write(sides[i]->wake_fd, 1);
			pthread_join(sides[i]->thread, NULL);
			sides[i]->thread = 0;
		}
	}
	for (int i = 0; i < 2; i++) {
		if (sides[i]->epoll >= 0)
			close(sides[i]->epoll);
		if (sides[i]->wake_fd >= 0)
			close(sides[i]->wake_fd);
	}
}
