/* SPDX-License-Identifier: Apache-2.0 */
/* TUN devices: IP packets, without any header or, for the native plane, with a virtio header in front. */
#include <fcntl.h>
/* Before linux/if_tun.h: both families of headers define struct ifreq's world. */
#include <net/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim.h"

struct tun {
	int fd;
	char name[IFNAMSIZ];
};

static int64_t tun_open(struct shim_call *call)
{
	/*
	 * Exclusive: a device that exists already, in use or left persistent by somebody, is refused (EBUSY);
	 * so ours is never anybody else's and vanishes with its descriptor.
	 */
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL };
	bool has_header = call->in[1].number;
	size_t length = call->in[0].text_length;
	struct tun *tun;
	int64_t handle;

	if (length == 0 || length >= IFNAMSIZ)
		return -EINVAL;
	tun = calloc(1, sizeof(*tun));
	if (!tun)
		return -ENOMEM;
	if (has_header)
		request.ifr_flags |= IFF_VNET_HDR;
	memcpy(request.ifr_name, call->in[0].text, length);
	tun->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (tun->fd < 0 || ioctl(tun->fd, TUNSETIFF, &request) < 0) {
		handle = -errno;
	} else {
		memcpy(tun->name, request.ifr_name, IFNAMSIZ);
		tun->name[IFNAMSIZ - 1] = 0;
		handle = shim_handle_new(SHIM_TUN, tun);
	}
	if (handle < 0) {
		if (tun->fd >= 0)
			close(tun->fd);
		free(tun);
	}
	return handle;
}

int shim_tun_descriptor(int64_t handle)
{
	struct tun *tun = shim_handle_get(SHIM_TUN, handle);

	return tun ? tun->fd : -EBADF;
}

static int64_t tun_close(struct shim_call *call)
{
	struct tun *tun = shim_handle_take(SHIM_TUN, call->in[0].number);

	if (!tun)
		return -EBADF;
	close(tun->fd);
	free(tun);
	return 0;
}

static int64_t tun_fd(struct shim_call *call)
{
	return shim_tun_descriptor(call->in[0].number);
}

static int64_t tun_name(struct shim_call *call)
{
	struct tun *tun = call->object;

	shim_result_text(call, tun->name, strlen(tun->name));
	return 0;
}

static int64_t tun_index(struct shim_call *call)
{
	struct tun *tun = call->object;
	unsigned int index;

	index = if_nametoindex(tun->name);
	return index ? (int64_t)index : -errno;
}

static int64_t tun_read(struct shim_call *call)
{
	struct tun *tun = call->object;
	ssize_t length;

	length = read(tun->fd, call->in[1].bytes.data, call->in[1].bytes.length);
	return length < 0 ? -errno : length;
}

static int64_t tun_write(struct shim_call *call)
{
	struct tun *tun = call->object;

	return write(tun->fd, call->in[1].bytes.data, call->in[1].bytes.length) < 0 ? -errno : 0;
}

const struct shim_entry shim_tun[] = {
	{ "tun_open", tun_open, "s:name i:hasHeader" },
	{ "tun_close", tun_close, "i:tun" },
	{ "tun_fd", tun_fd, "i:tun" },
	{ "tun_name", tun_name, "i:tun", SHIM_TUN },
	{ "tun_index", tun_index, "i:tun", SHIM_TUN },
	{ "tun_read", tun_read, "i:tun b:buffer", SHIM_TUN },
	{ "tun_write", tun_write, "i:tun b:packet", SHIM_TUN },
	{ 0 },
};
