/* SPDX-License-Identifier: Apache-2.0 */
#include "socket.h"

#include <net/if.h>
#include <sys/socket.h>

#include "address.h"

int socket_number(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The forced form is not bounded by net.core.*mem_max, but only root may use it. */
static int set_buffer(int fd, int forced, int plain, int64_t size)
{
	if (size == 0)
		return 0;
	if (size < 0 || size > INT32_MAX / 2)
		return -EINVAL;
	if (socket_number(fd, SOL_SOCKET, forced, size) == 0)
		return 0;
	return socket_number(fd, SOL_SOCKET, plain, size);
}

int socket_configure(int fd, const union shim_value *in)
{
	const char *device = in[0].text;
	int64_t mark = in[1].number;
	int status = 0;

	if (device) {
		if (in[0].text_length >= IFNAMSIZ)
			return -EINVAL;
		if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, in[0].text_length + 1) < 0)
			return -errno;
	}
	if (mark < 0 || mark > UINT32_MAX)
		return -EINVAL;
	if (mark)
		status = socket_number(fd, SOL_SOCKET, SO_MARK, (int)(uint32_t)mark);
	if (status == 0)
		status = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, in[2].number);
	if (status == 0)
		status = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, in[3].number);
	return status;
}

int socket_local(int fd, const union shim_value *block)
{
	struct sockaddr_storage own = { 0 };
	socklen_t size = sizeof(own);

	if (block->bytes.length < SHIM_ADDRESS_LENGTH)
		return -EINVAL;
	if (getsockname(fd, (struct sockaddr *)&own, &size) < 0)
		return -errno;
	address_store(block->bytes.data, &own);
	return 0;
}
