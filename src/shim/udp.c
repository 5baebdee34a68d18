/* SPDX-License-Identifier: Apache-2.0 */
/* UDP sockets that know to which own address a datagram came and can answer from it. */
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "address.h"
#include "socket.h"

union control {
	char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct cmsghdr align;
};

/* The kind of the handle tells the family, without a system call for each datagram. */
static int socket_of(int64_t handle, int *domain)
{
	int fd = shim_descriptor(SHIM_UDP4, handle);

	*domain = fd < 0 ? AF_INET6 : AF_INET;
	return fd < 0 ? shim_descriptor(SHIM_UDP6, handle) : fd;
}

static int configure(int fd, int64_t family, struct shim_call *call)
{
	int status;

	if (family == 4)
		status = socket_number(fd, IPPROTO_IP, IP_PKTINFO, 1);
	else
		status = socket_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, family == 6);
	if (status == 0 && family != 4)
		status = socket_number(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	return status == 0 ? socket_configure(fd, call->in + 3) : status;
}

static int64_t udp_open(struct shim_call *call)
{
	static const uint8_t any[16];
	int64_t family = call->in[0].number, port = call->in[2].number;
	const uint8_t *ip = call->in[1].bytes.data;
	size_t length = call->in[1].bytes.length;
	struct sockaddr_storage own;
	int domain = family == 4 ? AF_INET : AF_INET6, fd, size, status;

	if (family != 4 && family != 6 && family != 0)
		return -EINVAL;
	if (!ip) {
		ip = any;
		length = family == 4 ? 4 : 16;
	}
	if (family == 6 && length == 4)
		return -EINVAL;
	size = address_load(&own, domain, ip, length, port, 0);
	if (size < 0)
		return size;
	fd = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	status = configure(fd, family, call);
	if (status == 0 && bind(fd, (struct sockaddr *)&own, size) < 0)
		status = -errno;
	if (status < 0) {
		close(fd);
		return status;
	}
	return shim_descriptor_new(domain == AF_INET ? SHIM_UDP4 : SHIM_UDP6, fd);
}

static int64_t udp_close(struct shim_call *call)
{
	int64_t status = shim_descriptor_close(SHIM_UDP4, call->in[0].number);

	return status < 0 ? shim_descriptor_close(SHIM_UDP6, call->in[0].number) : status;
}

static int64_t udp_fd(struct shim_call *call)
{
	int domain;

	return socket_of(call->in[0].number, &domain);
}

/* Fills an address block with the address as bound. */
static int64_t udp_local(struct shim_call *call)
{
	int domain, fd = socket_of(call->in[0].number, &domain);

	return fd < 0 ? fd : socket_local(fd, &call->in[1]);
}

/* Fills the buffer with an address block and the datagram; returns the datagram's length. */
static int64_t udp_receive(struct shim_call *call)
{
	int domain, fd = socket_of(call->in[0].number, &domain);
	uint8_t *block = call->in[1].bytes.data;
	struct sockaddr_storage from = { 0 };
	union control control;
	struct iovec part;
	struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part,
				  .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t length;

	if (fd < 0)
		return fd;
	if (call->in[1].bytes.length <= SHIM_ADDRESS_LENGTH)
		return -EINVAL;
	part.iov_base = block + SHIM_ADDRESS_LENGTH;
	part.iov_len = call->in[1].bytes.length - SHIM_ADDRESS_LENGTH;
	length = recvmsg(fd, &message, 0);
	if (length < 0)
		return -errno;
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	address_store(block, &from);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			block[1] = address_put(block + 24,
					       &((struct in_pktinfo *)CMSG_DATA(c))->ipi_spec_dst, 4);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			block[1] = address_put(block + 24,
					       &((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr, 16);
	}
	return length;
}

/* Adds the own address to answer from; -EINVAL when it does not fit the socket or the destination. */
static int add_source(struct msghdr *message, union control *control, const struct sockaddr_storage *to,
		      const uint8_t *ip, size_t length, size_t to_length)
{
	struct cmsghdr *header;
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info = { 0 };
	const void *data = &info6;
	size_t size = sizeof(info6);

	if (length != to_length)
		return -EINVAL;
	if (to->ss_family == AF_INET) {
		memcpy(&info.ipi_spec_dst, ip, 4);
		data = &info;
		size = sizeof(info);
	} else if (length == 4) {
		address_map(&info6.ipi6_addr, ip);
	} else {
		memcpy(&info6.ipi6_addr, ip, 16);
		/* A link-local source says nothing without its interface. */
		if (IN6_IS_ADDR_LINKLOCAL(&info6.ipi6_addr))
			info6.ipi6_ifindex = ((const struct sockaddr_in6 *)to)->sin6_scope_id;
	}
	memset(control, 0, sizeof(*control));
	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(size);
	header = CMSG_FIRSTHDR(message);
	header->cmsg_level = to->ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	header->cmsg_type = to->ss_family == AF_INET ? IP_PKTINFO : IPV6_PKTINFO;
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), data, size);
	return 0;
}

static int64_t udp_send(struct shim_call *call)
{
	int domain, fd = socket_of(call->in[0].number, &domain), size, status;
	struct sockaddr_storage to;
	union control control;
	struct iovec part = { .iov_base = call->in[1].bytes.data, .iov_len = call->in[1].bytes.length };
	struct msghdr message = { .msg_name = &to, .msg_iov = &part, .msg_iovlen = 1 };

	if (fd < 0)
		return fd;
	size = address_load(&to, domain, call->in[2].bytes.data, call->in[2].bytes.length, call->in[3].number,
			    call->in[4].number);
	if (size < 0)
		return size;
	message.msg_namelen = size;
	if (call->in[5].bytes.data) {
		status = add_source(&message, &control, &to, call->in[5].bytes.data, call->in[5].bytes.length,
				    call->in[2].bytes.length);
		if (status < 0)
			return status;
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

const struct shim_entry shim_udp[] = {
	{ "udp_open", udp_open, "i:family B:ip i:port S:device i:mark i:sendBuffer i:receiveBuffer" },
	{ "udp_close", udp_close, "i:socket" },
	{ "udp_fd", udp_fd, "i:socket" },
	{ "udp_local", udp_local, "i:socket b:address" },
	{ "udp_receive", udp_receive, "i:socket b:buffer" },
	{ "udp_send", udp_send, "i:socket b:bytes b:ip i:port i:scope B:from" },
	{ 0 },
};
