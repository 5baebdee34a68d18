/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets: whole datagrams in and out; messages are built and read in TypeScript. */
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

/* The kernel's largest dump buffer is 32 KiB; anything near this is no answer to us. */
#define DATAGRAM_MAX (1 << 20)

static int64_t netlink_open(struct shim_call *call)
{
	int64_t protocol = call->in[0].number, buffer = call->in[1].number;
	struct sockaddr_nl own = { .nl_family = AF_NETLINK };
	int fd, one = 1, size = buffer;

	if (protocol < 0 || protocol > 255 || buffer < 0 || buffer > INT32_MAX / 2)
		return -EINVAL;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) < 0 ||
	    (size > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
	     setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0) ||
	    bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0) {
		int64_t error = -errno;

		close(fd);
		return error;
	}
	return shim_descriptor_new(SHIM_NETLINK, fd);
}

static int64_t netlink_join(struct shim_call *call)
{
	int fd = call->fd;
	int group = call->in[1].number;

	if (call->in[1].number < 1 || call->in[1].number > INT32_MAX)
		return -EINVAL;
	return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ? -errno : 0;
}

static int64_t netlink_send(struct shim_call *call)
{
	int fd = call->fd;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return sendto(fd, call->in[1].bytes.data, call->in[1].bytes.length, 0, (struct sockaddr *)&kernel,
		      sizeof(kernel)) < 0 ? -errno : 0;
}

static int64_t netlink_receive(struct shim_call *call)
{
	int fd = call->fd;
	struct sockaddr_nl from;
	socklen_t size;
	ssize_t length;
	uint8_t *out, none;

	for (;;) {
		size = sizeof(from);
		length = recvfrom(fd, &none, 0, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&from, &size);
		if (length < 0)
			return -errno;
		/* Any process may send to us; only the kernel (port 0) is believed. */
		if (size == sizeof(from) && from.nl_pid == 0 && length <= DATAGRAM_MAX)
			break;
		if (recv(fd, &none, 0, MSG_TRUNC) < 0)
			return -errno;
	}
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	return recv(fd, out, length, 0) < 0 ? -errno : 0;
}

const struct shim_entry shim_netlink[] = {
	{ "netlink_open", netlink_open, "i:protocol i:receiveBuffer" },
	{ "netlink_close", shim_close, "i:netlink", SHIM_NETLINK },
	{ "netlink_fd", shim_fd, "i:netlink", SHIM_NETLINK },
	{ "netlink_join", netlink_join, "i:netlink i:group", SHIM_NETLINK },
	{ "netlink_send", netlink_send, "i:netlink b:message", SHIM_NETLINK },
	{ "netlink_receive", netlink_receive, "i:netlink", SHIM_NETLINK },
	{ 0 },
};
