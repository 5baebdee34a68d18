/* SPDX-License-Identifier: Apache-2.0 */
/* TCP: listening, accepting, connecting. A connection is a stream, read and written as those of stream.c. */
#include <netinet/tcp.h>
#include <unistd.h>

#include "address.h"
#include "socket.h"

#define BACKLOG 128

static int64_t give_up(int fd, int64_t status)
{
	close(fd);
	return status;
}

/* Arguments: family, own address or none, port, and what socket_configure takes. */
static int64_t tcp_listen(struct shim_call *call)
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
	fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Old connections that are still dying must not keep a new process from the port. */
	status = socket_number(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (status == 0 && family != 4)
		status = socket_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, family == 6);
	/* Accepted connections inherit all of it. */
	if (status == 0)
		status = socket_configure(fd, call->in + 3);
	if (status < 0)
		return give_up(fd, status);
	if (bind(fd, (struct sockaddr *)&own, size) < 0 || listen(fd, BACKLOG) < 0)
		return give_up(fd, -errno);
	return shim_descriptor_new(SHIM_TCP_LISTENER, fd);
}

static int64_t tcp_listener_local(struct shim_call *call)
{
	int fd = call->fd;

	return socket_local(fd, &call->in[1]);
}

/* A stream; fills an address block with the remote address. */
static int64_t tcp_accept(struct shim_call *call)
{
	int listener = call->fd, fd, status;
	struct sockaddr_storage from = { 0 };
	socklen_t size = sizeof(from);

	if (call->in[1].bytes.length < SHIM_ADDRESS_LENGTH)
		return -EINVAL;
	fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	status = socket_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (status < 0)
		return give_up(fd, status);
	address_store(call->in[1].bytes.data, &from);
	return shim_descriptor_new(SHIM_STREAM, fd);
}

/* A stream on its way: writable when tcp_outcome knows more. Arguments: address, port, scope, socket_configure's. */
static int64_t tcp_connect(struct shim_call *call)
{
	size_t length = call->in[0].bytes.length;
	int domain = length == 4 ? AF_INET : AF_INET6, fd, size, status;
	struct sockaddr_storage to;

	size = address_load(&to, domain, call->in[0].bytes.data, length, call->in[1].number,
			    call->in[2].number);
	if (size < 0)
		return size;
	fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	status = socket_configure(fd, call->in + 3);
	if (status == 0)
		status = socket_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (status < 0)
		return give_up(fd, status);
	if (connect(fd, (struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS)
		return give_up(fd, -errno);
	return shim_descriptor_new(SHIM_STREAM, fd);
}

/* What became of tcp_connect, once the stream is writable: 0 connected, or -errno. */
static int64_t tcp_outcome(struct shim_call *call)
{
	int fd = call->fd, error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

static int64_t tcp_local(struct shim_call *call)
{
	int fd = call->fd;

	return socket_local(fd, &call->in[1]);
}

const struct shim_entry shim_tcp[] = {
	{ "tcp_listen", tcp_listen, "i:family B:ip i:port S:device i:mark i:sendBuffer i:receiveBuffer" },
	{ "tcp_unlisten", shim_close, "i:listener", SHIM_TCP_LISTENER },
	{ "tcp_listener_fd", shim_fd, "i:listener", SHIM_TCP_LISTENER },
	{ "tcp_listener_local", tcp_listener_local, "i:listener b:address", SHIM_TCP_LISTENER },
	{ "tcp_accept", tcp_accept, "i:listener b:address", SHIM_TCP_LISTENER },
	{ "tcp_connect", tcp_connect, "b:ip i:port i:scope S:device i:mark i:sendBuffer i:receiveBuffer" },
	{ "tcp_outcome", tcp_outcome, "i:stream", SHIM_STREAM },
	{ "tcp_local", tcp_local, "i:stream b:address", SHIM_STREAM },
	{ 0 },
};
